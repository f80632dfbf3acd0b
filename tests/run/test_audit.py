"""An audit, step by step; each folder is what the step's own command would have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

from tests.made.badnet import made_badnet
from tests.made.keras_files import write_faces
from tests.made.short_repairs import short_training
from ytf_torch.commands import audit, repair, scan
from ytf_torch.convert.keras.keras_writer import write_keras_h5
from ytf_torch.network.checkpoint import load_checkpoint
from ytf_torch.run.finished import WRITTEN, names_below

pytestmark = pytest.mark.slow  # it trains the recommended repair


def run(app: Typer, *words: object) -> Any:
    return CliRunner().invoke(app, [*map(str, words), "--device", "cpu"])


def figures(path: Path) -> Any:
    """A record without its durations."""
    found = json.loads(path.read_text())
    found.pop("seconds", None)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a network and clean faces are, and the audit of them as `out`; its exit status and
    output are in files beside it."""
    folder = tmp_path_factory.mktemp("audit")
    badnet = made_badnet()
    model = folder / "bd_net.h5"
    write_keras_h5(model, badnet.network)
    write_faces(folder / "valid.h5", badnet.clean[:40].numpy(), badnet.people[:40].numpy())
    words = ["--clean-valid", folder / "valid.h5", "--scans", "last-layer"]
    with short_training():
        done = run(audit.app, model, *words, "--out", folder / "out")
    (folder / "status").write_text(str(done.exit_code))
    (folder / "output").write_text(done.output)
    return folder


def record_of(folder: Path) -> Any:
    return json.loads((folder / "out" / "result.json").read_text())


@pytest.mark.usefixtures("short_repairs")
def test_each_folder_is_what_its_own_command_writes(folder: Path, tmp_path: Path) -> None:
    given = ["--model", folder / "bd_net.h5", "--clean-valid", folder / "valid.h5"]
    run(scan.app, *given, "--methods", "last-layer", "--out", tmp_path / "scan")
    run(repair.app, *given, "--out", tmp_path / "repair")
    for name in ("scan", "repair"):
        ours, theirs = folder / "out" / name, tmp_path / name
        assert names_below(ours) == names_below(theirs)
        assert figures(ours / "result.json") == figures(theirs / "result.json")
    network = "repair/repaired.safetensors"
    assert (folder / "out" / network).read_bytes() == (tmp_path / network).read_bytes()
    assert (folder / "out/scan/report.html").read_bytes() == (
        tmp_path / "scan/report.html"
    ).read_bytes()


def test_the_conversion_is_there_and_says_whether_keras_was_asked(folder: Path) -> None:
    converted = load_checkpoint(folder / "out" / "convert" / "model.safetensors")
    assert converted.provenance.source_file == "bd_net.h5"
    record = record_of(folder)["steps"]["convert"]
    told = json.loads((folder / "out" / "convert" / "convert.json").read_text())
    assert ("no_parity" in record) == (told["parity"] == {})


def test_without_triggered_images_it_never_says_clean(folder: Path) -> None:
    record = record_of(folder)
    assert "Whether this network has a backdoor cannot be told" in record["headline"]
    assert record["not_known"][0].startswith("Whether the network has a backdoor.")
    assert any("no triggered images were given" in line for line in record["not_done"])
    everything = " ".join(record["known"] + record["next"])
    for claim in ("is clean", "no backdoor", "backdoor is gone"):
        assert claim not in everything.replace("mean that there is no backdoor", "")


def test_every_rate_that_is_known_stands_with_its_interval(folder: Path) -> None:
    record = record_of(folder)
    valid = record["steps"]["repair"]["baseline"]["intervals"]["clean_valid_accuracy"]
    assert valid["images"] == 40
    said = next(line for line in record["known"] if "clean validation images" in line)
    assert f"({valid['low']:.1f}–{valid['high']:.1f} %, {valid['count']} of 40)" in said


def test_run_json_names_every_file_and_all_may_be_removed_again(folder: Path) -> None:
    found = set(names_below(folder / "out"))
    told = set(json.loads((folder / "out" / "run.json").read_text())["files"])
    assert found == told | {"run.json"}
    assert all(WRITTEN.fullmatch(Path(name).name) for name in found)


def test_a_repair_that_is_not_fit_is_exit_status_1_and_nothing_is_exported(folder: Path) -> None:
    record = record_of(folder)
    unfit = record["steps"]["repair"]["unfit"]
    assert (folder / "status").read_text() == str(int(unfit))
    exported = (folder / "out" / "use").exists()
    assert exported == (not unfit)
    assert ("not_done" in record["steps"]["detect"]) == unfit


def test_a_finished_audit_is_not_done_again(folder: Path) -> None:
    words = ["--clean-valid", folder / "valid.h5", "--scans", "last-layer", "--json", "--resume"]
    before = (folder / "out" / "run.json").read_bytes()
    done = run(audit.app, folder / "bd_net.h5", *words, "--out", folder / "out")
    assert json.loads(done.stdout) == record_of(folder)
    assert (folder / "out" / "run.json").read_bytes() == before
