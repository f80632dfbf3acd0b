from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.made.keras_files import SMALL, random_images, write_faces
from ytf_torch.disk.confined import open_confined


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ends_a_whole_run_does_not_end_its_readers_first(
    tmp_path: Path, number: signal.Signals
) -> None:
    faces = write_faces(tmp_path / "faces.h5", random_images(SMALL, 4), [0] * 4)
    with open_confined("hdf5_reader", faces) as file:
        reader = file.process.process
        os.kill(reader.pid, number)
        assert file.ask("array", "data")["shape"] == [4, *SMALL.input_shape]
        assert reader.poll() is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_there_is_no_moment_in_which_they_could(tmp_path: Path) -> None:
    """The signals are blocked from before the reader begins, and not for its parent."""
    faces = write_faces(tmp_path / "faces.h5", random_images(SMALL, 4), [0] * 4)
    with open_confined("hdf5_reader", faces) as file:
        status = Path(f"/proc/{file.process.process.pid}/status").read_text()
    blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
    for number in (signal.SIGINT, signal.SIGTERM):
        assert blocked & 1 << number - 1
        assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
