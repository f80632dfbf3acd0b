"""The one door through which HDF5 files are read.

Their bytes are parsed in a confined process by hdf5_reader.py, which says what is refused and why
its limits are what they are. Here arrive texts and arrays of numbers, nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.disk.confined import OpenFile, open_confined
from ytf_torch.disk.reading import checked_file, is_hdf5, wrong_kind
from ytf_torch.errors import mismatch

# A list of names that is too long for one attribute of 64 kB is split: name0, name1, …
MAX_NAME_PARTS = 100
# Bytes per read: small enough for memory, large enough for the overhead of an HDF5 call.
READ_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Group:
    """A group of an open HDF5 file. path: below the root, which is ""."""

    file: OpenFile
    path: str = ""

    def __str__(self) -> str:
        return f"{self.file.path}:/{self.path}"


@dataclass(frozen=True)
class Dataset:
    """An array of integers or floats in an open HDF5 file; rows are read by data[start:stop]
    and data[index]."""

    file: OpenFile
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None

    def __str__(self) -> str:
        return f"{self.file.path}:/{self.path}"

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

    def lines(self, start: int, stop: int, first: int, step: int) -> NDArray[Any]:
        """Of images start…stop-1 of (images, channels, height, width) every step-th line from
        `first` on, (images, channels, lines, width); the rest is not read where pixels are not
        compressed."""
        lines = len(range(first, self.shape[2], step))
        array = np.empty((stop - start, self.shape[1], lines, self.shape[3]), self.dtype)
        self.file.ask("lines", self.path, start, stop, first, step, into=array)
        return array

    def narrowed(self, start: int, stop: int) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Rows start…stop-1 as uint8 where all of them are whole numbers of 0–255, which most
        pixels are in whatever type they are stored, else as float32."""
        shape = (stop - start, *self.shape[1:])
        return self.file.narrowed(shape, "narrowed", self.path, start, stop)

    def _read(self, rows: tuple[int, int] | None) -> NDArray[Any]:
        shape = self.shape if rows is None else (rows[1] - rows[0], *self.shape[1:])
        array = np.empty(shape, self.dtype)
        self.file.ask("read", self.path, rows, into=array)
        return array


@contextmanager
def open_hdf5(path: Path) -> Iterator[Group]:
    """The root group of an HDF5 file, closed when the block ends.

    Raises InputError where the file is missing, is no HDF5 or damaged.
    """
    if not is_hdf5(checked_file(path)):
        raise wrong_kind(path, "an HDF5 file")
    with open_confined("hdf5_reader", path) as file:
        yield Group(file)


def _below(group: Group, path: str) -> str:
    return f"{group.path}/{path}" if group.path else path


def kind(group: Group, path: str) -> str:
    """What lies at a path: "a group", "a dataset", "nothing"."""
    return str(group.file.ask("kind", _below(group, path)))


def listing(group: Group) -> list[str]:
    """What a group holds, for a person: names, with the shapes of datasets; the first few."""
    return list(map(str, group.file.ask("listing", group.path)))


def find_group(group: Group, path: str) -> Group | None:
    """The group at `path`, None where nothing is. Raises InputError where it is something else."""
    below, found = _below(group, path), kind(group, path)
    if found not in ("a group", "nothing"):
        raise mismatch(f"{group.file.path}:/{below}", "a group", found)
    return Group(group.file, below) if found == "a group" else None


def subgroup(group: Group, path: str) -> Group:
    """The group at `path`. Raises InputError where there is none."""
    found = find_group(group, path)
    if found is None:
        raise mismatch(f"{group.file.path}:/{_below(group, path)}", "a group", "nothing")
    return found


def member_names(group: Group) -> list[str]:
    """The names of what lies in a group."""
    names: list[str] = group.file.ask("names", group.path)
    return names


def dataset(group: Group, path: str) -> Dataset:
    """The dataset at `path`, of numbers that lie in this file; nothing is read yet.

    Raises InputError where it is missing, external, virtual, compressed by a filter that is not
    HDF5's own, holds anything but integers and floats, or declares far more than the file can
    hold.
    """
    below = _below(group, path)
    found = group.file.ask("array", below)
    shape, chunks = tuple(found["shape"]), found["chunks"] and tuple(found["chunks"])
    return Dataset(group.file, below, shape, np.dtype(found["dtype"]), chunks)


def read_array(data: Dataset, max_bytes: int) -> NDArray[Any]:
    """All of a dataset. Raises InputError where it declares more than `max_bytes`."""
    if data.nbytes > max_bytes:
        raise mismatch(data, f"at most {max_bytes:,} bytes", f"{data.nbytes:,} bytes declared")
    return data._read(None)


def text_attribute(node: Group | Dataset, name: str) -> str | None:
    """A text attribute, whether stored as bytes or str; None where there is none."""
    value = node.file.ask("text", node.path, name)
    if isinstance(value, list):
        raise mismatch(f"{node}@{name}", "one text", f"a list of {len(value)}")
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
    value = group.file.ask("text", group.path, name)
    return [value] if isinstance(value, str) else value
