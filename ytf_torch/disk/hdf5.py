"""The only module through which HDF5 files are read.

Their bytes are parsed in a sandboxed process by hdf5_reader.py, which documents what is refused and
the reasons for its limits. Only text and arrays of numbers arrive here.
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

# Keras splits a list of names that exceeds one attribute's 64 kB into name0, name1, …
MAX_NAME_PARTS = 100
# Bytes per read: small enough for memory, large enough to outweigh the overhead of an HDF5 call.
READ_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Group:
    """A group of an open HDF5 file. path: relative to the root, which is ""."""

    file: OpenFile
    path: str = ""

    def __str__(self) -> str:
        return f"{self.file.path}:/{self.path}"


@dataclass(frozen=True)
class Dataset:
    """An array of integers or floats in an open HDF5 file. `data[start:stop]` and `data[index]`
    read rows."""

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
        """Size of the whole array in bytes, as declared."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | int) -> NDArray[Any]:
        if isinstance(rows, int):
            index = range(len(self))[rows]
            row: NDArray[Any] = self._read((index, index + 1))[0]
            return row
        start, stop, _ = rows.indices(len(self))
        return self._read((start, max(start, stop)))

    def lines(self, start: int, stop: int, first: int, step: int) -> NDArray[Any]:
        """`data[start:stop, :, first::step]` of images (images, channels, height, width). Only the
        selected lines are returned from the sandbox."""
        lines = len(range(first, self.shape[2], step))
        array = np.empty((stop - start, self.shape[1], lines, self.shape[3]), self.dtype)
        self.file.ask("lines", self.path, start, stop, first, step, into=array)
        return array

    def narrowed(self, start: int, stop: int) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Rows start…stop-1: uint8 if all values are whole numbers of 0–255, as most pixels are
        whatever their stored dtype, else float32."""
        shape = (stop - start, *self.shape[1:])
        return self.file.narrowed(shape, "narrowed", self.path, start, stop)

    def _read(self, rows: tuple[int, int] | None) -> NDArray[Any]:
        shape = self.shape if rows is None else (rows[1] - rows[0], *self.shape[1:])
        array = np.empty(shape, self.dtype)
        self.file.ask("read", self.path, rows, into=array)
        return array


@contextmanager
def open_hdf5(path: Path) -> Iterator[Group]:
    """Open an HDF5 file and give its root group; close it when the block ends.

    Raises InputError if the file is missing, not HDF5, or damaged.
    """
    if not is_hdf5(checked_file(path)):
        raise wrong_kind(path, "an HDF5 file")
    with open_confined("hdf5_reader", path) as file:
        yield Group(file)


def _full_path(group: Group, path: str) -> str:
    return f"{group.path}/{path}" if group.path else path


def kind(group: Group, path: str) -> str:
    """The kind of object at a path: "a group", "a dataset", "nothing" or "something else"."""
    return str(group.file.ask("kind", _full_path(group, path)))


def listing(group: Group) -> list[str]:
    """A group's first members for error messages: names, with the shapes of datasets."""
    return list(map(str, group.file.ask("listing", group.path)))


def find_group(group: Group, path: str) -> Group | None:
    """The group at `path`, None if nothing is there. Raises InputError for another kind."""
    full_path, found_kind = _full_path(group, path), kind(group, path)
    if found_kind not in ("a group", "nothing"):
        raise mismatch(f"{group.file.path}:/{full_path}", "a group", found_kind)
    return Group(group.file, full_path) if found_kind == "a group" else None


def subgroup(group: Group, path: str) -> Group:
    """The group at `path`. Raises InputError if there is none."""
    child = find_group(group, path)
    if child is None:
        raise mismatch(f"{group.file.path}:/{_full_path(group, path)}", "a group", "nothing")
    return child


def member_names(group: Group) -> list[str]:
    """The names of a group's members."""
    names: list[str] = group.file.ask("names", group.path)
    return names


def dataset(group: Group, path: str) -> Dataset:
    """The numeric dataset at `path`; its values are not read yet.

    Raises InputError if it is missing, external, virtual, compressed by a filter that is not
    HDF5's own, holds anything but integers and floats, or declares far more than the file can
    hold.
    """
    full_path = _full_path(group, path)
    header = group.file.ask("array", full_path)
    shape, chunks = tuple(header["shape"]), header["chunks"] and tuple(header["chunks"])
    return Dataset(group.file, full_path, shape, np.dtype(header["dtype"]), chunks)


def read_array(data: Dataset, max_bytes: int) -> NDArray[Any]:
    """The whole dataset. Raises InputError if it declares more than `max_bytes`."""
    if data.nbytes > max_bytes:
        raise mismatch(data, f"at most {max_bytes:,} bytes", f"{data.nbytes:,} bytes declared")
    return data._read(None)


def text_attribute(node: Group | Dataset, name: str) -> str | None:
    """A text attribute, whether stored as bytes or str; None if there is none."""
    value = node.file.ask("text", node.path, name)
    if isinstance(value, list):
        raise mismatch(f"{node}@{name}", "one text", f"a list of {len(value)}")
    return None if value is None else str(value)


def names_attribute(group: Group, name: str) -> list[str] | None:
    """An attribute that is a list of names, joined if Keras has split it into name0, name1, …; None
    if there is none."""
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
