from __future__ import annotations

import html
import json
from pathlib import Path

from typer.testing import CliRunner, Result

from tests.made.badnet import SIZES, made_badnet
from ytf_torch.commands.scan import app


def scan(folder: Path, clean_valid: str = "--clean-valid", methods: str = "last-layer") -> Result:
    """Scan a BadNet into `out`, with the named set as clean validation set."""
    files = made_badnet().files(folder)
    words = ["--model", files["--model"], "--clean-valid", files[clean_valid]]
    words += ["--out", folder / "out", "--methods", methods]
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
