"""The fast tests with the lowest versions promised, and on every other Python of this machine those
of what depends on Python.

`python3 .ci/versions.py`, which .ci/run calls.
Installs into folders of its own and removes each after its tests: PyTorch takes gigabytes where
there is no CPU build of it. What needs real Keras is slow, and runs on one Python only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from bootstrap import fill  # noqa: E402

OLDEST, NEWEST_TRIED = 11, 30
EXTRAS = ("onnx", "test")
# What depends on Python and the system. Everything else depends on PyTorch, NumPy and the other
# libraries, and all tests run with the lowest and newest versions of these.
SYSTEM = [f"tests/{room}" for room in ("disk", "hostile", "run")]
ASK_VERSION = "import ensurepip, sys, venv; print(*sys.version_info[:2])"


def pythons() -> dict[int, str]:
    """Every Python 3 of this machine that the project promises to run on, by its minor version."""
    found: dict[int, str] = {}
    below = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(OLDEST, NEWEST_TRIED):
        named = shutil.which(f"python3.{minor}")
        built = sorted(map(str, below.glob(f"3.{minor}.*/bin/python")))
        for python in filter(None, (named, *built)):
            # pyenv puts commands on the path that only say that no version is chosen.
            told = subprocess.run([python, "-c", ASK_VERSION], capture_output=True, text=True)
            if told.stdout.split() == ["3", str(minor)]:
                found[minor] = python
                break
    return found


def lowest_versions() -> str:
    """What pyproject.toml promises to run with, at its lowest, as constraints for pip."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in EXTRAS:
        wanted += project["optional-dependencies"][extra]
    return "\n".join(line.replace(">=", "==") for line in wanted)


def prepared(python: str, constraints: Path, folder: Path) -> Path:
    """Install the package in a folder of its own; the Python that has it."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    inside = folder / "bin" / "python"
    # Most of what is installed is never imported, and need not be compiled.
    fill(inside, EXTRAS, constraints, "--no-compile")
    return inside


def run_fast_tests(python: Path, rooms: list[str], what: str) -> None:
    """Run the fast tests of some rooms with the package that is installed for this Python."""
    print(f"--- fast tests on {what}", flush=True)
    # What test_structure.py says of the source is the same with every version.
    options = ["-q", "-n", "2", "--dist", "worksteal", "--ignore=tests/test_structure.py"]
    subprocess.run(
        [python, "-m", "pytest", *options, "-m", "not slow", *rooms],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
    )


def main() -> None:
    """All of them; the first that fails ends it."""
    found = pythons()
    here = sys.version_info.minor
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(1) as pool:
        folder = Path(name)
        lowest = folder / "lowest.txt"
        lowest.write_text(lowest_versions())
        # This Python runs all tests with the newest versions, so another one takes the lowest.
        oldest, *others = sorted(found.keys() - {here}) or [here]
        python = found.get(oldest, sys.executable)
        runs = [(python, lowest, ["tests"], f"Python 3.{oldest} with the lowest versions")]
        for minor in others:
            runs.append((found[minor], ROOT / "constraints.txt", SYSTEM, f"Python 3.{minor}"))
        # Each is installed while the one before it is tested: one mostly waits for the network.
        coming = [
            (pool.submit(prepared, python, constraints, folder / str(number)), rooms, what)
            for number, (python, constraints, rooms, what) in enumerate(runs)
        ]
        for number, (installed, rooms, what) in enumerate(coming):
            run_fast_tests(installed.result(), rooms, what)
            shutil.rmtree(folder / str(number))


if __name__ == "__main__":
    main()
