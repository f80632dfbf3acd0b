"""The one door through which zip archives are read: NumPy's .npz and Keras's .keras.

Their bytes are parsed in a confined process by zip_reader.py, which says what is refused and why
its limits are what they are.
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
    """An open zip archive; members are found by their names."""

    file: OpenFile

    def names(self) -> list[str]:
        """The names of all members."""
        names: list[str] = self.file.ask("names")
        return names

    def content(self, name: str, max_bytes: int) -> bytes:
        """A member's bytes. Raises InputError where it is missing, damaged or larger."""
        size = self.file.ask("size", name)
        if size > max_bytes:
            place = f"{self.file.path}:{name}"
            raise mismatch(place, f"at most {max_bytes:,} bytes", f"{size:,} declared")
        content = np.empty(size, np.uint8)
        self.file.ask("content", name, into=content)
        return content.tobytes()

    def array(self, name: str) -> NDArray[Any]:
        """The array `name` of an .npz, in this machine's byte order.

        Raises InputError where it is missing, damaged, larger than zip_reader.py allows, or not
        of integers or floats of at most 8 bytes each.
        """
        found = self.file.ask("array", f"{name}.npy")
        array = np.empty(found["shape"], np.dtype(found["dtype"]))
        self.file.ask("values", into=array)
        return array

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype of the array `name` of an .npz, of which rows are read one after the
        other. Raises InputError as `array` does, and where it is in Fortran's order."""
        found = self.file.ask("header", f"{name}.npy")
        return tuple(found["shape"]), np.dtype(found["dtype"])

    def narrowed(
        self, name: str, start: int, stop: int, row: tuple[int, ...]
    ) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Rows start…stop-1 of the array `name` as uint8 where all of them are whole numbers of
        0–255, else as float32. row: the shape of one."""
        return self.file.narrowed((stop - start, *row), "rows", f"{name}.npy", start, stop)


@contextmanager
def open_archive(path: Path, expected: str = "a zip archive") -> Iterator[Archive]:
    """A zip archive, closed when the block ends.

    expected: what to call it in the error for a file that is none.
    Raises InputError where the file is missing, is no zip archive or damaged.
    """
    if not starts_with(checked_file(path), ZIP_START):
        raise wrong_kind(path, expected)
    with open_confined("zip_reader", path) as file:
        yield Archive(file)
