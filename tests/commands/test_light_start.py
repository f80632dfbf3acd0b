"""Commands respond immediately where nothing is computed: slow packages are not imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.test_start import SCRIPTS
from tests.conftest import ROOT

HEAVY = {"torch", "matplotlib", "h5py", "PIL", "safetensors"}
RUN = """
import sys
from ytf_torch.commands.start import start
try:
    start(sys.argv.pop(1))
except SystemExit as ended:
    print("status", ended.code)
print("loaded", *sorted({name.split(".")[0] for name in sys.modules}))
"""


def run(script: str, *arguments: str) -> tuple[int, set[str], str]:
    """A command's exit status, imported packages, and standard error."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, script.removeprefix("ytf-"), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    *_, status, loaded = done.stdout.splitlines()
    return int(status.split()[1]), set(loaded.split()), done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_loads_nothing_heavy(script: str) -> None:
    status, loaded, _ = run(script, "--help")
    assert (status, loaded & HEAVY) == (0, set())


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_mistyped_flag_loads_nothing_heavy(script: str) -> None:
    status, loaded, error = run(script, "--modle", "x")
    assert "--modle" in error
    assert (status, loaded & HEAVY) == (2, set())


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("ytf-convert", ["GONE"]),
        ("ytf-prune", ["--model", "GONE", "--clean-valid", "valid.h5", "--out", "run"]),
        ("ytf-evaluate", ["GONE"]),
        ("ytf-detect", ["--model", "GONE", "--pruned", "GONE", "photo.png"]),
    ],
)
def test_a_missing_file_loads_nothing_heavy(script: str, flags: list[str], tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    status, loaded, error = run(script, *(gone if flag == "GONE" else flag for flag in flags))
    assert error == f"error: {gone}: no such file\n"
    assert (status, loaded & HEAVY) == (2, set())


def test_the_library_loads_pytorch_when_a_name_is_asked_for() -> None:
    code = "import sys, ytf_torch; print('torch' in sys.modules, ytf_torch.Network.__name__)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["False", "Network"]
