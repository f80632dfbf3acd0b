"""What becomes of a confined process, and what is said of it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ytf_torch.disk.confined import open_confined
from ytf_torch.errors import InputError

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture
def face_set(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file["data"] = np.arange(12, dtype=np.uint8).reshape(4, 3)
    return tmp_path / "valid.h5"


@POSIX
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_what_ends_the_parent_does_not_end_the_reader(face_set: Path, number: str) -> None:
    with open_confined("hdf5_reader", face_set) as file:
        os.kill(file.process.process.pid, getattr(signal, number))
        assert file.ask("kind", "data") == "a dataset"


@POSIX
def test_the_reader_is_in_a_group_of_its_own(face_set: Path) -> None:
    with open_confined("hdf5_reader", face_set) as file:
        assert os.getpgid(file.process.process.pid) != os.getpgid(0)


@POSIX
@pytest.mark.parametrize(
    ("number", "line"),
    [
        ("SIGPROF", "refused: no HDF5 file may take so long to read"),
        ("SIGSEGV", r"damaged HDF5 file \(its reader broke off with status -11\)"),
    ],
)
def test_how_a_reader_ended_is_said(face_set: Path, number: str, line: str) -> None:
    with (
        pytest.raises(InputError, match=line),
        open_confined("hdf5_reader", face_set) as file,
    ):
        file.process.process.send_signal(getattr(signal, number))
        file.process.process.wait()
        file.ask("kind", "data")


def test_readers_are_used_again_and_each_reads_its_kind(face_set: Path) -> None:
    with open_confined("hdf5_reader", face_set) as first:
        process = first.process
    with open_confined("photo_reader", face_set) as photo:
        assert photo.ask("format") is None
        assert photo.process is not process
    with open_confined("hdf5_reader", face_set) as second:
        assert second.process is process


def test_only_what_a_reader_offers_can_be_asked(face_set: Path) -> None:
    with (
        pytest.raises(InputError, match=r"expected one of .* found close_everything"),
        open_confined("hdf5_reader", face_set) as file,
    ):
        file.ask("close_everything")
