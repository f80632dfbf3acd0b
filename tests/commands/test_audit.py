from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.made.badnet import made_badnet
from ytf_torch.commands.audit import app, command_line
from ytf_torch.defences.methods import REPAIRS
from ytf_torch.defences.repairs.distillation import Distillation
from ytf_torch.run.audit_settings import AuditSettings


def audit(files: dict[str, Path], *more: object) -> Result:
    words = [files["--model"], "--clean-valid", files["--clean-valid"], *more]
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return made_badnet().files(tmp_path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--scans", "magic"], "--scans: expected all, or some of last-layer"),
        (["--scans", "mm-bd,mm-bd"], "--scans: expected each once"),
        (["--clean-test", "missing.h5"], "missing.h5: no such file"),
        (["--target", "99"], "--target: expected a class of 0…4, found 99"),
        (["--pixel-scale", "none"], "pixel"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    more: list[str], message: str, files: dict[str, Path], tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    done = audit(files, "--out", tmp_path / "out", *more)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_asks_for_code_is_refused_before_anything_is_written(
    files: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "net.pkl").write_bytes(b"\x80\x04\x95.")
    done = audit({**files, "--model": tmp_path / "net.pkl"}, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "net.pkl" in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_out_that_is_taken_is_left_alone(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").touch()
    done = audit(files, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_the_command_that_repeats_it_names_the_network_first() -> None:
    settings = AuditSettings(
        model=Path("a net.h5"), clean_valid=Path("v.h5"), out=Path("out"), scans=("mm-bd",)
    )
    assert command_line(settings) == (
        "ytf-audit \\\n  'a net.h5' \\\n  --clean-valid v.h5 \\\n  --scans mm-bd \\\n  --out NEW"
    )


@pytest.mark.slow
def test_with_triggered_images_it_measures_and_says_how_long_it_takes(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the recommended repair as users have it, on a quarter of the images; other tests shorten
    its training further."""
    monkeypatch.setitem(REPAIRS, "distillation", lambda seed: Distillation(lesson=1200, seed=seed))
    words = ["--poisoned-test", files["--poisoned-test"], "--scans", "last-layer"]
    done = audit(files, *words, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    said = done.stdout.splitlines()
    assert said[0].startswith("Audit: a")
    assert said[0].endswith("on this machine, if no step is done yet")
    titles = [line for line in said if line in ("Known:", "Not known:", "Next:", "Not done:")]
    assert titles == ["Known:", "Not known:", "Next:", "Not done:"]
    assert any("get the target from the network as it came" in line for line in said)
    assert (tmp_path / "out" / "use" / "repaired.h5").exists()
    assert not (tmp_path / "out.partial").exists()
