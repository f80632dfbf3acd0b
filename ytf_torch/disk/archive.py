"""The only module through which zip archives are read: NumPy's .npz and Keras's .keras.

Their bytes are parsed in a sandboxed process by zip_reader.py, which documents what is refused and
the reasons for its limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.disk.confined import OpenFile, open_confined
from ytf_torch.disk.reading import ZIP_START, checked_file, starts_with, wrong_kind
from ytf_torch.errors import mismatch


@dataclass(frozen=True)
class Archive:
    """An open zip archive. Members are addressed by name."""

    file: OpenFile

    def names(self) -> list[str]:
        """The names of all members."""
        names: list[str] = self.file.ask("names")
        return names

    def content(self, name: str, max_bytes: int) -> bytes:
        """A member's bytes. Raises InputError if it is missing, damaged or over `max_bytes`."""
        size = self.file.ask("size", name)
        if size > max_bytes:
            place = f"{self.file.path}:{name}"
            raise mismatch(place, f"at most {max_bytes:,} bytes", f"{size:,} declared")
        content = np.empty(size, np.uint8)
        self.file.ask("content", name, into=content)
        return content.tobytes()

    def array(self, name: str) -> NDArray[Any]:
        """The array `name` of an .npz, in this machine's byte order.

        Raises InputError if it is missing, damaged, larger than zip_reader.py allows, or not of
        integers or floats of at most 8 bytes each.
        """
        header = self.file.ask("array", f"{name}.npy")
        array = np.empty(header["shape"], np.dtype(header["dtype"]))
        self.file.ask("values", into=array)
        return array

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype of the array `name` of an .npz, whose rows `narrowed` then reads.

        Raises InputError as `array` does, and if it is stored in Fortran order, in which rows are
        not contiguous.
        """
        header = self.file.ask("header", f"{name}.npy")
        return tuple(header["shape"]), np.dtype(header["dtype"])

    def narrowed(
        self, name: str, start: int, stop: int, row: tuple[int, ...]
    ) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Rows start…stop-1 of the array `name`, (stop - start, *row): uint8 if all values are
        whole numbers of 0–255, else float32. row: the shape of one row."""
        return self.file.narrowed((stop - start, *row), "rows", f"{name}.npy", start, stop)


@contextmanager
def open_archive(path: Path, expected: str = "a zip archive") -> Iterator[Archive]:
    """Open a zip archive; close it when the block ends.

    expected: what the error for another kind of file says was expected.
    Raises InputError if the file is missing, not a zip archive, or damaged.
    """
    if not starts_with(checked_file(path), ZIP_START):
        raise wrong_kind(path, expected)
    with open_confined("zip_reader", path) as file:
        yield Archive(file)
