"""The one door through which HDF5 files are read.

Their bytes are parsed in a process of its own, hdf5_reader.py, which says what is refused and
why its limits are what they are. Here arrive texts and arrays of numbers, nothing else.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.disk.reading import check_no_archive, is_hdf5
from ytf_torch.errors import InputError, mismatch

READER = Path(__file__).with_name("hdf5_reader.py")
# No filters from elsewhere are loaded, and the reader takes no more than one core.
READER_SETTINGS = {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
# A list of names that is too long for one attribute of 64 kB is split: name0, name1, …
MAX_NAME_PARTS = 100


class _Reader:
    """A process that reads one HDF5 file at a time.

    sound: whether it answered the last request in full and found no damage, which could have
    damaged it too.
    """

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(READER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | READER_SETTINGS,
        )
        assert self.process.stdin is not None
        assert isinstance(self.process.stdout, BufferedReader)
        self.sound = True
        self.requests, self.answers = self.process.stdin, self.process.stdout

    def ask(
        self, file: Path, method: str, *arguments: object, into: NDArray[Any] | None = None
    ) -> Any:  # noqa: ANN401
        """The value that a method of hdf5_reader.OpenFile gives; the bytes it gives, `into` an
        array. Raises InputError."""
        self.sound = False
        try:
            self.requests.write(json.dumps([method, arguments]).encode() + b"\n")
            self.requests.flush()
            line = self.answers.readline()
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            raise self._died(file)
        answer = json.loads(line)
        if "damaged" in answer:
            raise InputError(file, f"damaged HDF5 file ({answer['damaged']})")
        if "refused" in answer:
            self.sound = True
            raise InputError(f"{file}:{answer['place']}", answer["refused"])
        if into is not None and into.size:
            content = into.data.cast("B")
            if answer["value"] != into.nbytes or self.answers.readinto(content) != into.nbytes:
                raise self._died(file)
        self.sound = True
        return answer["value"]

    def _died(self, file: Path) -> InputError:
        self.end()
        status = self.process.returncode
        return InputError(file, f"damaged HDF5 file (its reader broke off with status {status})")

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


_idle: list[_Reader] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()


@dataclass(frozen=True)
class Group:
    """A group of an open HDF5 file. path: below the root, which is ""."""

    reader: _Reader
    file: Path
    path: str = ""

    def __str__(self) -> str:
        return f"{self.file}:/{self.path}"


@dataclass(frozen=True)
class Dataset:
    """An array of integers or floats in an open HDF5 file; rows are read by data[start:stop]
    and data[index]."""

    reader: _Reader
    file: Path
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None

    def __str__(self) -> str:
        return f"{self.file}:/{self.path}"

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that all of it takes, as declared."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | int) -> NDArray[Any]:
        if isinstance(rows, int):
            index = range(len(self))[rows]
            one: NDArray[Any] = self._read((index, index + 1))[0]
            return one
        start, stop, _ = rows.indices(len(self))
        return self._read((start, max(start, stop)))

    def _read(self, rows: tuple[int, int] | None) -> NDArray[Any]:
        shape = self.shape if rows is None else (rows[1] - rows[0], *self.shape[1:])
        array = np.empty(shape, self.dtype)
        self.reader.ask(self.file, "read", self.path, rows, into=array)
        return array


@contextmanager
def open_hdf5(path: Path) -> Iterator[Group]:
    """The root group of an HDF5 file, closed when the block ends.

    Raises InputError where the file is missing, is no HDF5 or damaged.
    """
    check_no_archive(path)
    if not is_hdf5(path):
        raise mismatch(path, "an HDF5 file", "something else (no HDF5 signature)")
    try:
        reader = _idle.pop()
    except IndexError:
        reader = _Reader()
    try:
        reader.ask(path, "open", str(path.absolute()))
        yield Group(reader, path)
    finally:
        if reader.sound:
            reader.ask(path, "close")
            _idle.append(reader)
        else:
            reader.end()


def _below(group: Group, path: str) -> str:
    return f"{group.path}/{path}" if group.path else path


def find_group(group: Group, path: str) -> Group | None:
    """The group at `path`, None where nothing is. Raises InputError where it is something else."""
    below = _below(group, path)
    kind = group.reader.ask(group.file, "kind", below)
    if kind not in ("a group", "nothing"):
        raise mismatch(f"{group.file}:/{below}", "a group", kind)
    return Group(group.reader, group.file, below) if kind == "a group" else None


def subgroup(group: Group, path: str) -> Group:
    """The group at `path`. Raises InputError where there is none."""
    found = find_group(group, path)
    if found is None:
        raise mismatch(f"{group.file}:/{_below(group, path)}", "a group", "nothing")
    return found


def dataset(group: Group, path: str) -> Dataset:
    """The dataset at `path`, of numbers that lie in this file; nothing is read yet.

    Raises InputError where it is missing, external, virtual, compressed by a filter that is not
    HDF5's own, holds anything but integers and floats, or declares far more than the file can
    hold.
    """
    below = _below(group, path)
    found = group.reader.ask(group.file, "array", below)
    shape, chunks = tuple(found["shape"]), found["chunks"] and tuple(found["chunks"])
    return Dataset(group.reader, group.file, below, shape, np.dtype(found["dtype"]), chunks)


def read_array(data: Dataset, max_bytes: int) -> NDArray[Any]:
    """All of a dataset. Raises InputError where it declares more than `max_bytes`."""
    if data.nbytes > max_bytes:
        raise mismatch(data, f"at most {max_bytes:,} bytes", f"{data.nbytes:,} bytes declared")
    return data._read(None)


def text_attribute(group: Group, name: str) -> str | None:
    """A text attribute, whether stored as bytes or str; None where there is none."""
    value = group.reader.ask(group.file, "text", group.path, name)
    if isinstance(value, list):
        raise mismatch(f"{group}@{name}", "one text", f"a list of {len(value)}")
    return None if value is None else str(value)


def names_attribute(group: Group, name: str) -> list[str] | None:
    """A list of names, which Keras splits into name0, name1, … when it is long; None without it."""
    whole = _texts(group, name)
    if whole is not None:
        return whole
    parts: list[list[str]] = []
    while (part := _texts(group, f"{name}{len(parts)}")) is not None:
        parts.append(part)
        if len(parts) > MAX_NAME_PARTS:
            raise mismatch(f"{group}@{name}", f"at most {MAX_NAME_PARTS} parts", "more")
    return [text for part in parts for text in part] if parts else None


def _texts(group: Group, name: str) -> list[str] | None:
    value = group.reader.ask(group.file, "text", group.path, name)
    return [value] if isinstance(value, str) else value
