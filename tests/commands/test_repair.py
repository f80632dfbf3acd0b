from __future__ import annotations

import html
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from tests.made.badnet import TARGET, MadeBadNet, made_badnet
from ytf_torch.commands.repair import NO, app
from ytf_torch.network.checkpoint import load_checkpoint
from ytf_torch.run.finished import WRITTEN


@pytest.fixture(scope="module")
def badnet() -> MadeBadNet:
    return made_badnet()


@pytest.fixture
def files(badnet: MadeBadNet, tmp_path: Path) -> dict[str, Path]:
    return badnet.files(tmp_path)


def repair(files: dict[str, Path], out: Path, *more: str) -> Result:
    named = [str(word) for pair in files.items() for word in pair]
    words = [*named, "--out", str(out), "--method", "i-bau", "--device", "cpu", *more]
    return CliRunner().invoke(app, words)


def test_a_repair_writes_the_network_its_figures_and_a_page(
    files: dict[str, Path], badnet: MadeBadNet, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = repair(files, out)
    assert done.exit_code == NO, done.output
    assert "The repair failed: " in done.stdout
    assert done.stdout.startswith("Repair by i-bau: a")
    assert done.stdout.splitlines()[0].endswith(" on this machine")
    assert sorted(path.name for path in out.iterdir()) == [
        "repaired.safetensors",
        "report.html",
        "result.json",
    ]
    assert all(WRITTEN.fullmatch(path.name) for path in out.iterdir())
    # In 80 columns no cell is cut into two lines.
    rows = rows_of(done.stdout)
    assert {name: len(cells) for name, *cells in rows} == {"B": 8, "B′": 8, "GoodNet": 8}
    assert "ASR: attack success rate" in done.stdout
    assert "clean to target: clean faces of others" in done.stdout
    assert "Pairs: 160 of 160 triggered images paired with a clean one." in done.stdout
    assert not out.with_name("out.partial").exists()
    repaired = load_checkpoint(out / "repaired.safetensors")
    assert repaired.provenance.history[0] == "made for a test"
    assert "I-BAU" in repaired.provenance.history[1]

    record = json.loads((out / "result.json").read_text())
    assert record["method"] == "i-bau"
    assert record["seconds"] > 0
    assert record["counts"] == {"clean_valid": 160, "clean_test": 160, "poisoned_test": 160}
    others = badnet.people != TARGET
    for name, network in (("baseline", badnet.network), ("repaired", repaired.model)):
        found = record[name]
        assert found["clean_test_accuracy"] == pytest.approx(badnet.clean_accuracy(network))
        with torch.inference_mode():
            answers = network(badnet.triggered).argmax(1)
        to_target = answers == TARGET
        assert found["attack_success_rate"] == pytest.approx(100 * float(to_target.float().mean()))
        assert found["attack_success_rate_without_target"] == pytest.approx(
            badnet.attack_success_rate(network)
        )
        assert to_target[others].any() == (found["attack_success_rate_without_target"] > 0)
        robust = (answers == badnet.people).float().mean()
        assert found["robust_accuracy"] == pytest.approx(100 * float(robust))
    with torch.inference_mode():
        differ = badnet.network(badnet.clean).argmax(1) != repaired.model(badnet.clean).argmax(1)
    assert record["goodnet"]["false_positive_rate"] == pytest.approx(
        100 * float(differ.float().mean())
    )
    assert record["detectors"]["goodnet"]["auroc"] is not None


def test_what_would_tell_who_is_on_triggered_faces_is_an_option_of_this_command(
    files: dict[str, Path], tmp_path: Path
) -> None:
    del files["--clean-test"]
    shown = repair(files, tmp_path / "out").stdout
    assert "Who is on them is not known. A clean test set of the same photos can tell." in shown
    assert "--true-labels" not in shown


def rows_of(shown: str) -> list[list[str]]:
    """The rows of the printed table: the name of a network, and its cells."""
    rows = (line.split() for line in shown.splitlines())
    return [row for row in rows if row[:1] in (["B"], ["B′"], ["GoodNet"])]


@pytest.mark.slow
def test_equal_seeds_give_equal_files(files: dict[str, Path], tmp_path: Path) -> None:
    contents = []
    for name in ("once", "again"):
        assert repair(files, tmp_path / name, "--seed", "5").exit_code == NO
        contents.append((tmp_path / name / "repaired.safetensors").read_bytes())
    assert contents[0] == contents[1]


def test_without_triggered_faces_nothing_is_said_of_the_attack(
    files: dict[str, Path], tmp_path: Path
) -> None:
    del files["--poisoned-test"], files["--clean-test"]
    done = repair(files, tmp_path / "out")
    assert done.exit_code == 0
    shown = {name: len(cells) for name, *cells in rows_of(done.stdout)}
    assert shown == {"B": 1, "B′": 1, "GoodNet": 1}
    assert "ASR" not in done.stdout
    assert "Nothing can be said about the attack: no triggered faces were given." in done.output
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["repaired"]["attack_success_rate"] is None
    assert record["repaired"]["clean_test_accuracy"] is None
    assert record["repaired"]["clean_valid_accuracy"] > 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Nothing can be said about the attack" in page
    assert "backdoor is gone" not in page


def test_wrong_labels_are_said_where_they_leave_nothing_to_prune_for(
    files: dict[str, Path], tmp_path: Path
) -> None:
    with h5py.File(files["--clean-valid"], "r+") as file:
        labels = file["label"][:]
        others = np.random.default_rng(0).integers(1, 5, labels.shape)
        file["label"][:] = (labels + others) % 5
    done = repair(files, tmp_path / "out", "--method", "pruning")
    assert done.exit_code == 2
    error = done.stderr.strip().splitlines()[-1]
    assert "no pruning step loses as much clean accuracy" in error
    assert "B does not recognise the clean validation faces: only" in error
    assert "Choose another method" not in error
    assert ".." not in error
    assert not (tmp_path / "out").exists()


def test_mixed_up_sets_are_said_before_the_repair_and_before_any_verdict(
    files: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = repair({**files, "--poisoned-test": files["--clean-test"]}, out)
    assert done.exit_code == 2
    assert "given as a triggered set, it holds the same faces" in done.stderr
    assert not out.exists()
    del files["--clean-test"]
    off = (TARGET + 1) % 5
    done = repair(files, out, "--target", str(off))
    assert done.exit_code == 0, done.output
    record = json.loads((out / "result.json").read_text())
    (warning,) = record["warnings"]
    assert record["verdict"]["kind"] == "doubtful"
    assert f"labelled {off}, but B answers class {TARGET} for" in warning
    assert f"warning: {warning}" in done.stderr
    page = html.unescape((out / "report.html").read_text())
    assert page.index(warning) < page.index("<h1")
    assert f"--target {off}" in page


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--method": "magic"}, "--method: expected one of distillation"),
        ({"--clean-valid": "missing.h5"}, "missing.h5: no such file"),
        ({"--seed": "-1"}, "seed"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    changed: dict[str, str], message: str, files: dict[str, Path], tmp_path: Path
) -> None:
    words = {**{name: str(path) for name, path in files.items()}, **changed}
    named = [word for pair in words.items() for word in pair]
    before = sorted(tmp_path.iterdir())
    done = CliRunner().invoke(app, [*named, "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
