from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.made.badnet import SIZES, made_badnet
from ytf_torch.commands.scan import app


def scan(
    folder: Path,
    clean_valid: str = "--clean-valid",
    methods: str = "last-layer",
    twins: int | None = None,
) -> Result:
    """Scan a BadNet into `out`, with the named set as clean validation set."""
    files = made_badnet().files(folder)
    words = ["--model", files["--model"], "--clean-valid", files[clean_valid]]
    words += ["--out", folder / "out", "--methods", methods]
    words += [] if twins is None else ["--twins", twins]
    return CliRunner().invoke(app, list(map(str, words)))


def test_a_scan_names_candidates_and_never_says_clean(tmp_path: Path) -> None:
    done, out = scan(tmp_path), tmp_path / "out"
    assert done.exit_code == 0, done.output
    assert "cannot say that a network is clean" in " ".join(done.output.split())
    record = json.loads((out / "result.json").read_text())
    assert len(record["scans"]["last-layer"]["anomaly"]) == SIZES.classes
    assert "report.html" in {path.name for path in out.iterdir()}


def test_triggered_faces_given_as_clean_ones_are_said_first_everywhere(tmp_path: Path) -> None:
    done, out = scan(tmp_path, clean_valid="--poisoned-test"), tmp_path / "out"
    assert done.exit_code == 0, done.output
    (warning,) = json.loads((out / "result.json").read_text())["warnings"]
    assert "faces of the clean validation set carry one label" in warning
    # Progress bars that are not drawn end with an empty line in the oldest rich.
    assert done.stderr.rstrip() == f"warning: {warning}"
    page = html.unescape((out / "report.html").read_text())
    assert page.index(warning) < page.index("<h1")


def test_an_unknown_scan_is_named(tmp_path: Path) -> None:
    done = scan(tmp_path, methods="magic")
    assert done.exit_code == 2
    assert "last-layer, mm-bd, neural-cleanse" in done.stderr
    assert not (tmp_path / "out").exists()


def test_names_are_separated_by_commas_with_or_without_spaces(tmp_path: Path) -> None:
    done = scan(tmp_path, methods="last-layer, magic ")
    assert done.exit_code == 2
    assert done.stderr.endswith("found magic\n")


def test_a_scan_is_named_once(tmp_path: Path) -> None:
    done = scan(tmp_path, methods="last-layer, last-layer")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "expected each once" in done.stderr


@pytest.fixture
def caches_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cache is a new folder, wherever the system keeps it."""
    for name in ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))


@pytest.mark.usefixtures("caches_here")
def test_twins_give_a_p_value_in_the_output_the_record_and_the_page(tmp_path: Path) -> None:
    done, out = scan(tmp_path, twins=3), tmp_path / "out"
    assert done.exit_code == 0, done.output
    record = json.loads((out / "result.json").read_text())
    among, network = record["scans"]["last-layer"]["twins"], record["scans"]["last-layer"]
    as_anomalous = sum(twin >= max(network["anomaly"]) for twin in among["anomaly"])
    alarms = sum(twin > network["threshold"] for twin in among["anomaly"])
    assert len(among["anomaly"]) == 3
    assert among["as_anomalous"] == as_anomalous
    assert among["p_value"] == (1 + as_anomalous) / 4
    assert among["false_alarm_rate"]["count"] == alarms
    assert among["false_alarm_rate"]["twins"] == 3
    assert record["twins"]["seeds"] == [0, 1, 2]
    assert record["twins"]["p_value"] == among["p_value"]
    assert min(record["twins"]["recognised"]) >= 98
    said = f"p = {among['p_value']:.2g}: {as_anomalous or 'none'} of 3 clean twins"
    assert said in done.output
    assert "3 clean twins: " in done.output
    page = html.unescape((out / "report.html").read_text()).replace("\xa0", " ")
    assert said in page
    assert "Among clean twins" in page
    assert page.count("<svg") == 2


@pytest.mark.usefixtures("caches_here")
def test_without_twins_there_is_no_p_value(tmp_path: Path) -> None:
    done = scan(tmp_path)
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["twins"] is None
    assert record["scans"]["last-layer"]["twins"] is None
    assert "clean twin" not in done.output + (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("twins", [-1, 1000])
def test_the_number_of_twins_is_bounded(twins: int, tmp_path: Path) -> None:
    done = scan(tmp_path, twins=twins)
    assert done.exit_code == 2
    assert "'--twins'" in done.stderr
