"""A short run of kills; `python -m tests.run.kills --kills 200` is the long one."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.slow
def test_killed_runs_reach_the_result_of_an_uninterrupted_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.run.kills", "--kills", "6", "--seed", "20261124"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 failures\n" in done.stdout
    resumed = re.search(r"^(\d+) runs went on", done.stdout, re.MULTILINE)
    assert resumed is not None
    assert int(resumed[1]) > 0
