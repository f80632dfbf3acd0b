"""How sandboxed readers end, restart and are reused, and what the errors say."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ytf_torch.disk import confined
from ytf_torch.disk.confined import OpenFile, open_confined
from ytf_torch.errors import InputError

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture
def face_set(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file["data"] = np.arange(12, dtype=np.uint8).reshape(4, 3)
    return tmp_path / "valid.h5"


@POSIX
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_to_the_whole_run_does_not_end_the_reader(face_set: Path, number: str) -> None:
    with open_confined("hdf5_reader", face_set) as file:
        os.kill(file.process.process.pid, getattr(signal, number))
        assert file.ask("kind", "data") == "a dataset"


@POSIX
def test_the_reader_is_in_its_own_process_group(face_set: Path) -> None:
    with open_confined("hdf5_reader", face_set) as file:
        assert os.getpgid(file.process.process.pid) != os.getpgid(0)


@POSIX
@pytest.mark.parametrize(
    ("number", "line"),
    [
        ("SIGPROF", "refused: reading this HDF5 file takes longer than allowed"),
        ("SIGSEGV", r"damaged HDF5 file \(its reader exited with status -11\)"),
    ],
)
def test_the_error_says_how_a_reader_ended(face_set: Path, number: str, line: str) -> None:
    with (
        pytest.raises(InputError, match=line),
        open_confined("hdf5_reader", face_set) as file,
    ):
        file.process.process.send_signal(getattr(signal, number))
        file.process.process.wait()
        file.ask("kind", "data")


def kill(file: OpenFile, number: str = "SIGKILL") -> None:
    file.process.process.send_signal(getattr(signal, number))
    file.process.process.wait()


@POSIX
@pytest.mark.parametrize("number", ["SIGKILL", "SIGHUP", "SIGQUIT"])
def test_a_killed_reader_is_restarted(face_set: Path, number: str) -> None:
    with open_confined("hdf5_reader", face_set) as file:
        kill(file, number)
        assert file.ask("kind", "data") == "a dataset"
        kill(file, number)
        assert file.ask("kind", "label") == "nothing"


@POSIX
def test_a_reader_killed_between_two_dependent_requests_is_restarted(face_set: Path) -> None:
    rows = np.zeros((2, 3), np.uint8)
    with open_confined("hdf5_reader", face_set) as file:
        assert file.ask("narrowed", "data", 1, 3) == "uint8"
        kill(file)
        file.ask("values", into=rows)
        kill(file)
    assert rows.tolist() == [[3, 4, 5], [6, 7, 8]]


@POSIX
def test_a_reader_killed_while_idle_is_replaced(face_set: Path) -> None:
    with open_confined("hdf5_reader", face_set) as file:
        idle = file
    kill(idle)
    with open_confined("hdf5_reader", face_set) as file:
        assert file.ask("kind", "data") == "a dataset"


@POSIX
def test_a_reader_that_is_killed_twice_is_not_reported_as_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face_set: Path
) -> None:
    program = tmp_path / "killed.py"
    program.write_text("import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 9)")
    monkeypatch.setattr(confined, "PROGRAM", program)
    monkeypatch.setitem(confined.KINDS, "killed_reader", "zip archive")
    line = r"valid\.h5: the process that read it was killed \(SIGKILL\)\. .*try again"
    with pytest.raises(InputError, match=line), open_confined("killed_reader", face_set):
        pass


def test_a_reader_that_cannot_start_is_not_reported_as_a_damaged_file(
    monkeypatch: pytest.MonkeyPatch, face_set: Path
) -> None:
    monkeypatch.setitem(confined.KINDS, "lacking_reader", "zip archive")
    line = (
        r"valid\.h5: cannot be read here: the process that reads a zip archive does not start "
        r"\(ModuleNotFoundError: .*lacking_reader"
    )
    with pytest.raises(InputError, match=line), open_confined("lacking_reader", face_set):
        pass


def test_readers_are_reused_for_their_own_kind_of_file(face_set: Path) -> None:
    with open_confined("hdf5_reader", face_set) as first:
        process = first.process
    with open_confined("photo_reader", face_set) as photo:
        assert photo.ask("format") is None
        assert photo.process is not process
    with open_confined("hdf5_reader", face_set) as second:
        assert second.process is process


def test_only_listed_methods_can_be_called(face_set: Path) -> None:
    with (
        pytest.raises(InputError, match=r"expected one of .* found close_everything"),
        open_confined("hdf5_reader", face_set) as file,
    ):
        file.ask("close_everything")
