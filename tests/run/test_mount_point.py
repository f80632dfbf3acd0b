"""OUT is a mount point, such as a container's volume: no folder can be renamed to it, so a run
works inside it and moves its files up one by one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.run.kills import arguments, contents, write_inputs
from tests.run.test_full_disk import NAMESPACE, can_mount
from ytf_torch.disk.writing import whole_folder
from ytf_torch.errors import InputError
from ytf_torch.run.lock import check_out
from ytf_torch.run.places import work_path
from ytf_torch.run.resume import filled_folder, work_folder
from ytf_torch.sweep.activation import Activation

INPUTS = {"model": "abc"}
ACTIVATION = Activation((0.5, 0.25), 80)


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder treated as a mount point: nothing may replace it or be written next to it."""
    out = tmp_path / "volume"
    out.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == out)
    return out


def write(folder: Path, text: str = "new") -> None:
    (folder / "result.json").write_text(text)
    (folder / "report.html").write_text(text)


def finish(out: Path, **options: bool) -> None:
    with work_folder(out, INPUTS, **options) as work:
        work.finish(write)


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


FILES = ["report.html", "result.json", "run.json"]


@pytest.mark.parametrize("there", [[], ["lost+found"]])
def test_a_run_works_inside_and_leaves_its_files_alone(out: Path, there: list[str]) -> None:
    for name in there:
        (out / name).mkdir()
    before = out.stat().st_ino
    assert work_path(out).parent == out
    finish(out)
    assert below(out) == sorted([*there, *FILES])
    assert below(out.parent) == sorted(["volume", *(f"volume/{n}" for n in [*there, *FILES])])
    assert out.stat().st_ino == before


def test_it_goes_on_and_is_replaced_as_elsewhere(out: Path) -> None:
    with pytest.raises(KeyboardInterrupt), work_folder(out, INPUTS) as work:
        work.keep("ranked-0", ACTIVATION)
        raise KeyboardInterrupt
    with pytest.raises(InputError, match="holds results of an interrupted run"):
        finish(out)
    with work_folder(out, INPUTS, resume=True) as work:
        assert work.find("ranked-0", Activation) == ACTIVATION
        work.finish(lambda folder: write(folder, "old"))
    with pytest.raises(InputError, match="already holds a finished run"):
        finish(out)
    finish(out, overwrite=True)
    assert below(out) == FILES
    assert (out / "report.html").read_text() == "new"


def test_files_of_others_are_neither_replaced_nor_removed(out: Path) -> None:
    (out / "report.html").write_text("precious")
    for begin in (finish, check_out, lambda out: filled_folder(out, {}).__enter__()):
        with pytest.raises(InputError, match="not an empty folder"):
            begin(out)
    assert below(out) == ["report.html"]
    assert (out / "report.html").read_text() == "precious"


@pytest.mark.parametrize("moved", range(4))
@pytest.mark.parametrize("resume", [False, True])
def test_what_was_cut_off_while_files_moved_up_is_brought_to_its_end(
    out: Path, moved: int, resume: bool
) -> None:
    finish(out)
    work = work_path(out)
    (work / "run").mkdir(parents=True)
    (work / "ytf-torch.lock").touch()
    for name in FILES[moved:]:
        (out / name).rename(work / "run" / name)
    (work / "ytf-torch.moving").write_text("run")
    check_out(out)
    if resume:
        with work_folder(out, INPUTS, resume=True) as found:
            assert found.finished
    else:
        with pytest.raises(InputError, match="already holds a finished run"):
            finish(out)
    assert below(out) == FILES


def test_a_repair_or_scan_moves_up_too(out: Path) -> None:
    check_out(out)
    with filled_folder(out, {}) as folder:
        assert folder.is_relative_to(out)
        write(folder)
    assert below(out) == ["report.html", "result.json"]


def test_whatever_else_is_written_whole_moves_up_too(out: Path) -> None:
    with whole_folder(out) as folder:
        write(folder)
    assert below(out) == ["report.html", "result.json"]


MOUNTED = """
set -e
{mount}
"$2" -m ytf_torch.commands.prune "${{@:3}}" >/dev/null
cp -r "$1" "$1.copy"
"""


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="nothing can be mounted here")
@pytest.mark.parametrize("mount", ['mount -t tmpfs x "$1"', 'mount --bind "$1.of" "$1"'])
def test_a_real_mount_point(tmp_path: Path, mount: str) -> None:
    inputs, out = write_inputs(tmp_path), tmp_path / "a volume"
    for folder in (out, tmp_path / "a volume.of"):
        folder.mkdir()
    script = ["bash", "-c", MOUNTED.format(mount=mount), "-", str(out), sys.executable]
    done = subprocess.run(
        [*NAMESPACE, *script, *arguments(inputs, out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    copy = tmp_path / "a volume.copy"
    assert len(contents(copy)) > 5
    assert not list(copy.glob("*partial*"))
