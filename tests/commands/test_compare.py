from __future__ import annotations

import copy
import csv
import html
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from tests.made.badnet import TARGET, made_badnet
from ytf_torch.commands.compare import app
from ytf_torch.convert.keras.keras_writer import write_keras_h5
from ytf_torch.defences.names import DETECTORS
from ytf_torch.defences.repairing import RepairOutcome, repair_and_measure
from ytf_torch.disk.confined import ReaderKilledError
from ytf_torch.errors import CannotRepairError, InputError, OutputError
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ytf_torch.network.module import Network
from ytf_torch.run import compared_repair
from ytf_torch.run.compare import open_control
from ytf_torch.run.pair import open_network
from ytf_torch.run.repair_settings import CompareSettings

METHODS = ("i-bau", "kernel-norm")


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """All repairs are made in this process, in which tests replace parts of them. For repairs side
    by side see tests/run/test_side_by_side.py."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return made_badnet().files(tmp_path, images=50)


def compare(files: dict[str, Path], out: Path, *more: str) -> Result:
    named = [str(word) for pair in files.items() for word in pair]
    words = [*named, "--out", str(out), "--methods", ",".join(METHODS), "--device", "cpu", *more]
    return CliRunner().invoke(app, words)


def save_control(network: Network, badnet: Path) -> Path:
    """Save a network as a converted model next to B, with B's provenance."""
    path = badnet.with_name("control.safetensors")
    save_checkpoint(Checkpoint(network, load_checkpoint(badnet).provenance), path)
    return path


@pytest.mark.slow
def test_a_comparison_has_a_row_for_each_method_and_the_clean_control(
    files: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    control = save_control(made_badnet().sound, files["--model"])
    done = compare(files, out, "--seeds", "2", "--clean-control", str(control))
    assert done.exit_code == 0, done.output
    record = json.loads((out / "comparison.json").read_text())
    assert tuple(record["methods"]) == METHODS
    assert [(r["method"], r["seed"]) for r in record["repairs"]] == [
        (method, seed) for method in METHODS for seed in (0, 1)
    ]
    first, second = (r["repaired"]["clean_test_accuracy"] for r in record["repairs"][:2])
    before = record["baseline"]["clean_test_accuracy"]
    median = before - (first + second) / 2
    assert record["methods"]["i-bau"]["points_lost"] == pytest.approx(median)
    assert set(record["clean_control"]) == set(METHODS)
    rows = list(csv.DictReader((out / "comparison.csv").read_text().splitlines()))
    assert [row["seed"] for row in rows] == ["0", "1", "0", "1"]
    page = (out / "report.html").read_text()
    assert all(method in page for method in METHODS)
    assert done.stdout.startswith("6 repairs: a")
    assert "points lost on the clean control" in page


@pytest.mark.parametrize("at_once", [1, 2])
def test_mixed_up_sets_are_said_instead_of_the_methods_that_succeed(
    files: dict[str, Path], tmp_path: Path, at_once: int
) -> None:
    torch.set_num_threads(at_once)
    off = (TARGET + 1) % 5
    del files["--clean-test"]
    out = tmp_path / "out"
    done = compare(files, out, "--target", str(off), "--methods", "clp,kernel-norm")
    assert done.exit_code == 0, done.output
    record = json.loads((out / "comparison.json").read_text())
    (warning,) = record["warnings"]
    assert f"labelled {off}, but B answers class {TARGET} for" in warning
    assert {row["verdicts"][0] for row in record["methods"].values()} == {"doubtful"}
    for repair in record["repairs"]:
        assert warning.startswith(repair["verdict"]["headline"])
    for said in (done.stdout, html.unescape((out / "report.html").read_text())):
        assert "cannot be said before the warnings about the image sets are settled" in said


@pytest.mark.slow
def test_a_comparison_that_was_cut_off_goes_on(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert compare(files, whole).exit_code == 0
    made: list[str] = []

    def counting(*arguments: Any) -> RepairOutcome:
        made.append(arguments[2])
        return repair_and_measure(*arguments)

    def cut_off(*arguments: Any) -> RepairOutcome:
        if made:
            raise KeyboardInterrupt
        return counting(*arguments)

    monkeypatch.setattr(compared_repair, "repair_and_measure", cut_off)
    stopped = compare(files, cut)
    assert stopped.exit_code == 130
    assert "Go on with --resume" in stopped.stderr
    assert not cut.exists()
    monkeypatch.setattr(compared_repair, "repair_and_measure", counting)
    assert compare(files, cut, "--resume").exit_code == 0
    assert made == list(METHODS)
    figures = [json.loads((out / "comparison.json").read_text())["methods"] for out in (whole, cut)]
    for one, other in zip(*(found.values() for found in figures), strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    again = compare(files, cut, "--resume")
    assert again.exit_code == 0
    assert "finished" in again.output
    assert made == list(METHODS)


@pytest.mark.slow
def test_what_was_kept_is_not_taken_for_another_target(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def cut_off(*arguments: Any) -> RepairOutcome:
        if made:
            raise KeyboardInterrupt
        made.append(arguments[2])
        return repair_and_measure(*arguments)

    monkeypatch.setattr(compared_repair, "repair_and_measure", cut_off)
    out = tmp_path / "out"
    assert compare(files, out).exit_code == 130
    other = compare(files, out, "--resume", "--target", "1")
    assert other.exit_code == 2
    assert "with different labels" in other.stderr


NO_ROOM = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"


def failing(method: str, error: Exception) -> Callable[..., RepairOutcome]:
    def fails(*arguments: Any) -> RepairOutcome:
        if arguments[2] == method:
            raise error
        return repair_and_measure(*arguments)

    return fails


@pytest.mark.parametrize(
    ("method", "error", "reason"),
    [
        ("i-bau", CannotRepairError("valid.h5", "nothing to offer"), "nothing to offer"),
        ("kernel-norm", InputError("the network, for x", "too large"), "for x: too large"),
        ("i-bau", MemoryError(), "there is not enough memory for this"),
        ("kernel-norm", RuntimeError(NO_ROOM), "there is not enough memory for this"),
    ],
)
@pytest.mark.slow
def test_a_repair_that_cannot_be_made_is_a_row_that_says_why(
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    error: Exception,
    reason: str,
) -> None:
    monkeypatch.setattr(compared_repair, "repair_and_measure", failing(method, error))
    out = tmp_path / "out"
    control = save_control(made_badnet().sound, files["--model"])
    done = compare(files, out, "--clean-control", str(control))
    assert done.exit_code == 0, done.output
    (other,) = set(METHODS) - {method}
    lines = [f"{method}, seed 0: ", f"{method}, on the clean control: "]
    record = json.loads((out / "comparison.json").read_text())
    failed = record["methods"][method]
    assert failed["seeds"] == 0
    assert [line.startswith(lines[i]) for i, line in enumerate(failed["failed"])] == [True, True]
    assert all(line.endswith(reason) for line in failed["failed"])
    assert failed["points_lost"] is None
    assert "failed" not in record["methods"][other]
    assert record["methods"][other]["seeds"] == 1
    (made,) = (found for found in record["repairs"] if "failed" not in found)
    assert made["method"] == other
    assert set(made["detectors"]) == set(DETECTORS)
    rows = {
        row["method"]: row
        for row in csv.DictReader((out / "comparison.csv").read_text().splitlines())
    }
    assert rows[method]["failed"].endswith(reason)
    assert (rows[method]["robust_accuracy"], rows[other]["failed"]) == ("", "")
    page = html.unescape((out / "report.html").read_text())
    assert all(f"{line}" in page for line in failed["failed"])
    assert f"Not made: {lines[0]}" in done.output
    assert not (tmp_path / "out.partial").exists()


def test_where_every_repair_is_made_the_table_has_no_column_for_failures(
    files: dict[str, Path], tmp_path: Path
) -> None:
    assert compare(files, tmp_path / "out", "--methods", "clp").exit_code == 0
    header = (tmp_path / "out" / "comparison.csv").read_text().splitlines()[0]
    assert header.split(",")[-1] == "seconds"
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["files"] == ["comparison.csv", "comparison.json", "report.html"]


def test_a_set_that_is_replaced_meanwhile_ends_it(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replacing(*arguments: Any) -> RepairOutcome:
        found = repair_and_measure(*arguments)
        os.utime(files["--clean-test"], ns=(0, 0))
        return found

    monkeypatch.setattr(compared_repair, "repair_and_measure", replacing)
    done = compare(files, tmp_path / "out")
    assert done.exit_code == 2
    assert f"error: {files['--clean-test']}: was replaced or changed while" in done.stderr
    assert sorted(tmp_path.glob("out*")) == []


def test_where_no_repair_can_be_made_one_line_says_why_of_each(
    files: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        error = CannotRepairError("valid.h5", "nothing to offer")
        patch.setattr(compared_repair, "repair_and_measure", failing("clp", error))
        done = compare(files, tmp_path / "out", "--methods", "clp")
    assert done.exit_code == 2
    assert "none of the methods can repair it (clp: valid.h5: nothing to offer)" in done.stderr
    assert sorted(tmp_path.glob("out*")) == []


@pytest.mark.parametrize("kind", [InputError, OutputError, ReaderKilledError])
def test_a_file_that_cannot_be_read_ends_it_and_what_is_done_stays(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[InputError]
) -> None:
    error = kind(f"{files['--clean-test']}:/data[3]", "cannot be reached")
    monkeypatch.setattr(compared_repair, "repair_and_measure", failing("kernel-norm", error))
    out = tmp_path / "out"
    done = compare(files, out)
    assert done.exit_code == 2
    assert "cannot be reached" in done.stderr
    assert "--resume continues from them" in done.stderr
    assert (tmp_path / "out.partial" / "i-bau-0.json").exists()
    monkeypatch.setattr(
        compared_repair, "repair_and_measure", failing("i-bau", AssertionError("made anew"))
    )
    again = compare(files, out, "--resume")
    assert again.exit_code == 0, again.output
    methods = json.loads((out / "comparison.json").read_text())["methods"]
    assert [row["seeds"] for row in methods.values()] == [1, 1]


def test_what_looks_wrong_stands_first_in_terminal_and_page(
    files: dict[str, Path], tmp_path: Path
) -> None:
    files["--clean-test"] = files["--clean-valid"]
    out = tmp_path / "out"
    done = compare(files, out)
    assert done.exit_code == 0, done.output
    (warning,) = json.loads((out / "comparison.json").read_text())["warnings"]
    assert "clean test faces" in warning
    assert f"warning: {warning}" in done.stderr
    page = html.unescape((out / "report.html").read_text())
    assert page.index(warning) < page.index("<h1")
    assert "%\nof clean test faces and gives" in page


def test_without_triggered_faces_no_method_is_called_a_success(
    files: dict[str, Path], tmp_path: Path
) -> None:
    del files["--poisoned-test"]
    done = compare(files, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "Nothing can be said about the attack" in done.output
    assert "remove the backdoor" not in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "i-bau,magic"], "--methods: expected one of distillation"),
        (["--methods", "i-bau, magic"], "i-bau, recommended, found magic"),
        (["--methods", ""], "found nothing"),
        (["--methods", "i-bau,i-bau"], "--methods: expected each once"),
        (["--seeds", "0"], "--seeds: expected a number of 1"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], message: str, files: dict[str, Path], tmp_path: Path
) -> None:
    named = [str(word) for pair in files.items() for word in pair]
    done = CliRunner().invoke(app, [*named, "--out", str(tmp_path / "out"), *words])
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_clean_control_of_other_people_is_refused(
    files: dict[str, Path], tmp_path: Path, keras_file: Path
) -> None:
    done = compare(files, tmp_path / "out", "--clean-control", str(keras_file))
    assert done.exit_code == 2
    assert f"error: {keras_file}: expected 5 classes, as {files['--model']} has" in done.stderr
    assert not (tmp_path / "out").exists()


def test_b_is_no_clean_control(files: dict[str, Path], tmp_path: Path) -> None:
    done = compare(files, tmp_path / "out", "--clean-control", str(files["--model"]))
    assert done.exit_code == 2
    assert f"error: {files['--model']}: holds the same weights as {files['--model']}" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_control_that_knows_nobody_is_said(files: dict[str, Path], tmp_path: Path) -> None:
    network = copy.deepcopy(made_badnet().sound)
    with torch.no_grad():
        network.get_parameter("output.bias")[0] = 1e4
    control = save_control(network, files["--model"])
    settings = CompareSettings(
        model=files["--model"],
        clean_valid=files["--clean-valid"],
        clean_control=control,
        out=tmp_path / "out",
        device="cpu",
    )
    faces = made_badnet().clean_valid(tmp_path)
    found = open_control(settings, open_network(files["--model"]), faces)
    assert found is not None
    share = 100 * float((made_badnet().people == 0).float().mean())
    assert found.doubts == (
        "The clean control does not recognise the clean validation faces: only "
        f"{share:.1f} % get their label.",
    )


def test_a_control_of_unknown_pixel_scale_is_read_with_bs(
    files: dict[str, Path], tmp_path: Path
) -> None:
    control = tmp_path / "control.h5"
    write_keras_h5(control, made_badnet().sound)
    done = compare(files, tmp_path / "out", "--methods", "clp", "--clean-control", str(control))
    assert done.exit_code == 0, done.output
    assert "clean control" not in done.stderr
    record = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert record["clean_control"]["clp"]["model"]["pixel_scale"] == made_badnet().sound.pixel_scale
