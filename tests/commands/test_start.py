"""A command answers at once where nothing has to be computed: PyTorch, which takes seconds to load,
and what else is heavy are not loaded."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

HEAVY = ("torch", "matplotlib", "h5py", "PIL", "safetensors")
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
RUN = """
import sys
from importlib import import_module

module, name = sys.argv[1].split(":")
sys.argv = [module, *sys.argv[2:]]
try:
    getattr(import_module(module), name)()
except SystemExit as ended:
    print("status", ended.code)
print("loaded", *sorted({name.split(".")[0] for name in sys.modules}))
"""


def run(script: str, *arguments: str) -> tuple[int, set[str], str]:
    """Exit status of a console script, the packages it loaded, and its standard error."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, SCRIPTS[script], *arguments],
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
    assert status == 0
    assert not loaded.intersection(HEAVY)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_mistyped_flag_loads_nothing_heavy(script: str) -> None:
    status, loaded, error = run(script, "--modle", "x")
    assert (status, "--modle" in error) == (2, True)
    assert not loaded.intersection(HEAVY)


MISSING = {
    "ytf-convert": ["gone"],
    "ytf-evaluate": ["gone"],
    "ytf-detect": ["--model", "gone", "--pruned", "gone", "photo.png"],
}


@pytest.mark.parametrize("script", MISSING)
def test_a_missing_file_loads_nothing_heavy(script: str, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    status, loaded, error = run(script, *(gone if a == "gone" else a for a in MISSING[script]))
    assert (status, error) == (2, f"error: {gone}: no such file\n")
    assert not loaded.intersection(HEAVY)


def test_the_library_loads_pytorch_when_a_name_is_asked_for() -> None:
    code = "import sys, ytf_torch; print('torch' in sys.modules, ytf_torch.DeepID.__name__)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["False", "DeepID"]
