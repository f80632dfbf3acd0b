from __future__ import annotations

import html
import json
from pathlib import Path

from typer.testing import CliRunner

from tests.made.badnet import SIZES, made_badnet
from ytf_torch.commands.scan import app


def test_a_scan_names_candidates_and_never_says_clean(tmp_path: Path) -> None:
    files = made_badnet().files(tmp_path)
    words = ["--model", str(files["--model"]), "--clean-valid", str(files["--clean-valid"])]
    out = tmp_path / "out"
    done = CliRunner().invoke(app, [*words, "--out", str(out), "--methods", "last-layer"])
    assert done.exit_code == 0, done.output
    assert "cannot say that a network is clean" in " ".join(done.output.split())
    record = json.loads((out / "result.json").read_text())
    assert len(record["scans"]["last-layer"]["anomaly"]) == SIZES.classes
    assert "report.html" in {path.name for path in out.iterdir()}


def test_triggered_faces_given_as_clean_ones_are_said_first_everywhere(tmp_path: Path) -> None:
    files = made_badnet().files(tmp_path)
    words = ["--model", str(files["--model"]), "--clean-valid", str(files["--poisoned-test"])]
    out = tmp_path / "out"
    done = CliRunner().invoke(app, [*words, "--out", str(out), "--methods", "last-layer"])
    assert done.exit_code == 0, done.output
    (warning,) = json.loads((out / "result.json").read_text())["warnings"]
    assert "faces of the clean validation set carry one label" in warning
    assert done.stderr == f"warning: {warning}\n"
    page = html.unescape((out / "report.html").read_text())
    assert page.index(warning) < page.index("<h1")


def test_an_unknown_scan_is_named(tmp_path: Path) -> None:
    files = made_badnet().files(tmp_path)
    words = ["--model", str(files["--model"]), "--clean-valid", str(files["--clean-valid"])]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--methods", "magic"])
    assert done.exit_code == 2
    assert "last-layer, mm-bd, neural-cleanse" in done.stderr
    assert not (tmp_path / "out").exists()
