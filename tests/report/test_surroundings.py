"""Figures depend on nothing outside the package, and change no settings of the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from tests.made.small_run import small_run
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.report.plots import draw_sweep, sweep_figure

COMMAND = """
from ytf_torch.report.surroundings import Process
Process.ours = True
from ytf_torch.report.drawing import mpl
changed = {n for n, v in mpl.rcParams.items() if n != "backend" and v != mpl.rcParamsDefault[n]}
print(mpl.rcParams["backend"].lower(), sorted(changed))
"""
LIBRARY = """
import os, ytf_torch
ytf_torch.defend
import matplotlib
print(matplotlib.rcParams["lines.linewidth"], os.environ.get("MPLBACKEND"))
"""


def python(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | variables,
        check=False,
    )


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A working folder with an untrusted matplotlibrc."""
    strange = b"\x1b[31mEVIL : 1\npath.sketch: 100, 100, 100\nlines.linewidth: 9\n"
    (tmp_path / "matplotlibrc").write_bytes(strange)
    return tmp_path


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"MPLBACKEND": "module://nowhere.backend_inline"},
        {"MPLBACKEND": "Qt5Agg"},
        {"MATPLOTLIBRC": "matplotlibrc"},
        {"HOME": "/dev/null"},
    ],
    ids=str,
)
def test_a_command_draws_with_built_in_settings_wherever_it_runs(
    strange: Path, variables: dict[str, str]
) -> None:
    done = python(COMMAND, strange, **variables)
    assert (done.stdout, done.stderr) == ("agg []\n", "")


@pytest.mark.parametrize("backend", ["module://nowhere.backend_inline", "inline", "agg"])
def test_the_library_is_imported_whatever_the_backend_and_leaves_the_settings_to_the_user(
    tmp_path: Path, backend: str
) -> None:
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\n")
    done = python(LIBRARY, tmp_path, MPLBACKEND=backend)
    assert (done.stdout, done.stderr) == (f"9.0 {backend}\n", "")


def test_pictures_are_the_same_under_any_settings_and_change_none(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    run, _, _ = small_run(tmp_path, checkpoint)
    expected = sweep_figure(run.defence, "png")
    with mpl.rc_context(
        {"savefig.bbox": "tight", "text.usetex": True, "path.sketch": (9, 9, 9), "figure.dpi": 30}
    ):
        before = dict(mpl.rcParams)
        assert sweep_figure(run.defence, "png") == expected
        assert draw_sweep(run.defence).dpi == 100
        assert dict(mpl.rcParams) == before
