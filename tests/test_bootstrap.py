"""bootstrap.py: what it asks of pip, and what it says to a mistake."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bootstrap import fill  # noqa: E402


@pytest.mark.skipif(sys.platform == "win32", reason="its stand-in for Python is a shell script")
@pytest.mark.parametrize(
    ("extras", "installed"), [((), "."), (("onnx",), ".[onnx]"), (("test", "demo"), ".[demo,test]")]
)
def test_pip_is_asked_for_the_project_with_its_extras(
    tmp_path: Path, extras: tuple[str, ...], installed: str
) -> None:
    python, asked = tmp_path / "python", tmp_path / "asked"
    python.write_text(f'#!/bin/sh\nfor last; do :; done\necho "$last" > {asked}\n')
    python.chmod(0o755)

    fill(python, extras, tmp_path / "constraints.txt")

    assert asked.read_text().strip() == installed


@pytest.mark.parametrize(
    ("arguments", "status"), [(["--help"], 0), (["-h"], 0), ([], 2), (["instal", "onnx"], 2)]
)
def test_without_a_known_action_it_says_what_there_is(arguments: list[str], status: int) -> None:
    command = [sys.executable, str(ROOT / "bootstrap.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    said = done.stdout if status == 0 else done.stderr
    assert (done.returncode, said.split()[0]) == (status, "usage:")
    assert all(f"bootstrap.py {action}" in said for action in ("demo", "test", "install"))
