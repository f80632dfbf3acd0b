"""ytf-compare --relearning and ytf-repair --poisoned-valid: does the backdoor come back?"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.made.badnet import TARGET, faces, made_badnet, with_trigger
from tests.made.keras_files import write_faces
from ytf_torch.commands import compare, repair
from ytf_torch.defences.relearning import MEASURED_AFTER, NUMBERS, Relearning, relearning
from ytf_torch.report.relearning import finding, findings
from ytf_torch.run import relearning as run
from ytf_torch.run.repair_settings import RepairSettings


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    named = [str(word) for pair in made_badnet().files(tmp_path).items() for word in pair]
    return [*named, "--out", str(tmp_path / "out"), "--device", "cpu"]


@pytest.fixture
def triggered_valid(tmp_path: Path) -> Path:
    clean, _ = faces(60, seed=5)
    target = [TARGET] * len(clean)
    return write_faces(tmp_path / "bd_valid.h5", with_trigger(clean).numpy(), target)


def page_of(out: Path) -> str:
    return " ".join(html.unescape((out / "report.html").read_text()).split())


def check_relearning(found: dict[str, Any]) -> None:
    for network in ("repaired", "clean_twin"):
        assert [curve["triggered"] for curve in found[network]] == list(NUMBERS)
        assert all(curve["steps"] == list(MEASURED_AFTER) for curve in found[network])
    assert found["without_target"]
    # The trigger means nothing to the twin, before it is shown.
    assert found["clean_twin"][0]["attack_success_rate"][0] < 20


@pytest.mark.slow
def test_a_comparison_says_of_each_repair_whether_the_backdoor_comes_back(
    words: list[str], tmp_path: Path
) -> None:
    asked = [*words, "--methods", "clp,kernel-norm", "--seeds", "2", "--relearning"]
    done = CliRunner().invoke(compare.app, asked)
    assert done.exit_code == 0, done.output
    assert re.match(r"8 repairs(, \d+ at a time)?: a", done.stdout)
    out = tmp_path / "out"
    records = json.loads((out / "comparison.json").read_text())["repairs"]
    measured = [(r["method"], r["seed"]) for r in records if "relearning" in r]
    assert measured == [("clp", 0), ("kernel-norm", 0)]
    for record in records:
        if "relearning" in record:
            check_relearning(record["relearning"])
            assert record["relearning"]["trained_on"].startswith("triggered test faces")
            first = record["relearning"]["repaired"][0]
            assert first["clean_accuracy"][0] == record["repaired"]["clean_test_accuracy"]
    said, page = " ".join(done.stdout.split()), page_of(out)
    for sentence in findings(records):
        assert sentence in said
        assert sentence in page
    assert "Does it come back?" in page
    assert "--relearning \\ --out NEW" in page


@pytest.mark.slow
def test_what_is_measured_already_is_not_measured_again(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    found: list[Relearning] = []

    def cut_off(*arguments: Any) -> Any:
        if made:
            raise KeyboardInterrupt
        made.append(arguments[0])
        found.append(relearning(*arguments))
        return found[0]

    asked = [*words, "--methods", "clp,kernel-norm", "--relearning"]
    monkeypatch.setattr(run, "relearning", cut_off)
    assert CliRunner().invoke(compare.app, asked).exit_code == 130
    again: list[str] = []

    def counting(*arguments: Any) -> Any:
        again.append(arguments[0])
        return found[0]  # whatever is found

    monkeypatch.setattr(run, "relearning", counting)
    done = CliRunner().invoke(compare.app, [*asked, "--resume"])
    assert done.exit_code == 0, done.output
    assert (made, again) == (["clp"], ["kernel-norm"])
    records = json.loads((tmp_path / "out" / "comparison.json").read_text())["repairs"]
    assert all("relearning" in record for record in records)


@pytest.mark.slow
def test_a_repair_says_it_where_triggered_validation_faces_are_given(
    words: list[str], triggered_valid: Path, tmp_path: Path
) -> None:
    asked = [*words, "--method", "i-bau", "--poisoned-valid", str(triggered_valid)]
    done = CliRunner().invoke(repair.app, asked)
    assert done.exit_code == repair.NO, done.output  # the attack still succeeds
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    check_relearning(record["relearning"])
    assert record["relearning"]["trained_on"] == "triggered validation faces"
    attack = record["relearning"]["repaired"][0]["attack_success_rate"][0]
    assert attack == record["repaired"]["attack_success_rate_without_target"]
    sentence, page = finding(record["relearning"]), page_of(tmp_path / "out")
    assert sentence in " ".join(done.stdout.split())
    assert sentence in page
    assert f"--poisoned-valid {triggered_valid}" in page


def test_without_them_a_repair_says_nothing_of_it(words: list[str], tmp_path: Path) -> None:
    assert CliRunner().invoke(repair.app, [*words, "--method", "clp"]).exit_code in (0, 1)
    assert "relearning" not in json.loads((tmp_path / "out" / "result.json").read_text())
    assert "Does it come back?" not in page_of(tmp_path / "out")


def test_a_mistake_is_one_line(words: list[str], triggered_valid: Path, tmp_path: Path) -> None:
    at = words.index("--poisoned-test")
    untested, tested = words[:at] + words[at + 2 :], words[at + 1]
    alone = ["--poisoned-valid", str(triggered_valid)]
    twice = ["--relearning", "--poisoned-valid", tested]
    for app, asked, message in (
        (compare.app, [*words, *alone], "--poisoned-valid: is only used with --relearning"),
        (compare.app, [*untested, "--relearning"], "--relearning: the attack success rate is mea"),
        (repair.app, [*untested, *alone], "--poisoned-valid: the attack success rate is measured"),
        (compare.app, [*words, *twice], "it holds the same faces as"),
    ):
        done = CliRunner().invoke(app, asked)
        assert done.exit_code == 2
        assert message in done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert not (tmp_path / "out").exists()


def test_the_settings_of_a_repair_request_it_by_the_faces_alone(triggered_valid: Path) -> None:
    one = RepairSettings(model=Path("b"), clean_valid=Path("v"), out=Path("o"))
    assert not one.relearning
    other = RepairSettings(
        model=Path("b"), clean_valid=Path("v"), out=Path("o"), poisoned_valid=(triggered_valid,)
    )
    assert other.relearning
    assert triggered_valid in other.files
