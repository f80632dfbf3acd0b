"""How zip archives are read, in a confined process: see confinement.py. archive.py asks.

An archive's own account of what it holds is not believed: members are unpacked only as far as they
say they go, and refused where they go further.
"""

from __future__ import annotations

import encodings.cp437  # noqa: F401  zipfile needs it, and no module can be loaded later
import math
from dataclasses import dataclass
from io import SEEK_END, BufferedReader, BytesIO, FileIO
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic

from ytf_torch.disk.narrowing import as_float32, narrow_into
from ytf_torch.disk.refused import RefusedError, check_at_most

METHODS = ("names", "size", "content", "array", "header", "rows", "values")
# A member, and two copies of it.
MAX_MEMORY = 384 * 2**20
# Of processor time for one archive: opening takes milliseconds, unpacking gives 100 MB a second.
SECONDS = 4
BYTES_PER_SECOND = 20 * 2**20
MAX_MEMBER_BYTES = 96 * 2**20
# Of an array of images, which is unpacked some rows at a time: pictures shrink 3 to 20 times, a
# bomb 1000 times. ALWAYS_ALLOWED_BYTES come on top, for small sets of black pictures.
MAX_ROWS_BYTES = 128 * 2**20
MAX_INFLATION, ALWAYS_ALLOWED_BYTES = 100, 64 * 2**20
# The end of a zip with its comment, and room for a hundred members.
MAX_TAIL = 2**16 + 22 + 20
MAX_DIRECTORY = 2**13
PACKINGS = {ZIP_STORED: "stored", ZIP_DEFLATED: "deflated"}
# PyTorch has no others, and none in foreign byte order; long doubles differ between machines.
KINDS, MAX_ITEM_BYTES = "iuf", 8


def open_archive(file: FileIO) -> ZipFile:
    """A zip whose list of members is short and names each once. Raises RefusedError."""
    content = BufferedReader(file)
    size = content.seek(0, SEEK_END)
    content.seek(max(size - MAX_TAIL, 0))
    before, found, record = content.read(MAX_TAIL).rpartition(b"PK\x05\x06")
    if not found:
        raise RefusedError("", "cut off: the list of members, at a zip's end, is not there")
    listing = int.from_bytes(record[8:12], "little")
    if listing > MAX_DIRECTORY or before[-20:].startswith(b"PK\x06\x07"):
        raise RefusedError("", f"too many members: their list has over {MAX_DIRECTORY:,} bytes")
    archive = ZipFile(content)
    names = archive.namelist()
    if len(set(names)) != len(names):
        raise RefusedError("", "a member is named twice")
    return archive


def checked_member(archive: ZipFile, name: str) -> ZipInfo:
    """A member that may be unpacked. Raises RefusedError where it is not there, packed by anything
    but deflate, or encrypted."""
    if name not in archive.namelist():
        listed = ", ".join(archive.namelist()[:10]) or "nothing"
        raise RefusedError("", f"expected {name}, found {listed}")
    member = archive.getinfo(name)
    if member.compress_type not in PACKINGS:
        known = " or ".join(PACKINGS.values())
        raise RefusedError(name, f"expected {known} data, found method {member.compress_type}")
    if member.flag_bits & 1:
        raise RefusedError(name, "refused: encrypted")
    return member


def unpacked(archive: ZipFile, name: str) -> bytes:
    """The content of a member. Raises RefusedError as checked_member does, and where it is larger
    than MAX_MEMBER_BYTES or than it says."""
    member = checked_member(archive, name)
    check_at_most(name, MAX_MEMBER_BYTES, member.file_size, "bytes")
    with archive.open(member) as file:
        # With a size zipfile decompresses no more than that; without one, everything.
        content = file.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise RefusedError(name, f"expected {member.file_size:,} bytes, found {len(content):,}")
    return content


@dataclass
class Rows:
    """An array that is unpacked from its first row on. next: the row that comes next."""

    content: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    next: int = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def read(self, name: str, count: int) -> np.ndarray[Any, Any]:
        """So many rows, as stored. Raises RefusedError where the member ends before."""
        wanted = count * self.row_bytes
        content = self.content.read(wanted)
        if len(content) != wanted:
            raise RefusedError(name, f"expected {self.shape[0]:,} rows, found fewer")
        self.next += count
        return np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])


def header_of(name: str, content: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and dtype of the NumPy array that begins here. Raises
    RefusedError where none does, or it holds anything but integers and floats."""
    try:
        old = read_magic(content)[0] == 1
        shape, fortran, dtype = (read_array_header_1_0 if old else read_array_header_2_0)(content)
    except Exception as error:  # NumPy's parser of headers raises whatever comes to it
        raise RefusedError(name, "expected a NumPy array, found something else") from error
    if dtype.kind not in KINDS or dtype.itemsize > MAX_ITEM_BYTES:
        found = str(dtype)[:80]
        raise RefusedError(name, f"expected integers or floats of 8 bytes at most: {found}")
    return shape, fortran, dtype


class OpenFile:
    """One opened archive, and what may be asked of it."""

    def __init__(self, file: FileIO) -> None:
        self.archive = open_archive(file)
        self.unpacked = 0
        self.values_of_array: np.ndarray[Any, Any] | None = None
        self.open_rows: tuple[str, Rows] | None = None

    def close(self) -> None:
        """Close it."""
        self.archive.close()

    def names(self) -> list[str]:
        """The names of its members."""
        return self.archive.namelist()

    def size(self, name: str) -> int:
        """How many bytes a member says it has; 0 where it is not there."""
        return self.archive.getinfo(name).file_size if name in self.archive.namelist() else 0

    def content(self, name: str) -> memoryview:
        """A member's bytes."""
        return memoryview(self._content(name))

    def _content(self, name: str) -> bytes:
        content = unpacked(self.archive, name)
        self.unpacked += len(content)
        return content

    def array(self, name: str) -> dict[str, Any]:
        """Shape and dtype of a member that is a NumPy array; `values` hands over what is in it."""
        content = BytesIO(self._content(name))
        shape, fortran, dtype = header_of(name, content)
        held = len(content.getbuffer()) - content.tell()
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != held:
            raise RefusedError(name, f"declares {dtype} {str(shape)[:80]} and holds {held:,} bytes")
        stored = np.frombuffer(content.getbuffer()[content.tell() :], dtype)
        array = stored.reshape(shape, order="F" if fortran else "C")
        native = np.ascontiguousarray(array, dtype.newbyteorder("="))
        self.values_of_array = native
        return {"shape": shape, "dtype": native.dtype.str}

    def header(self, name: str) -> dict[str, Any]:
        """Shape and dtype of a member that is an array of some rows; nothing else of it is read."""
        rows = self._rows(name)
        return {"shape": rows.shape, "dtype": rows.dtype.str}

    def rows(self, name: str, start: int, stop: int) -> str:
        """Read some rows of such an array; `values` hands them over. The type they have then: uint8
        where all of them are whole numbers of 0–255, else float32. Rows that come next are read on
        from where the last ones ended."""
        opened = self.open_rows
        rows = opened[1] if opened and opened[0] == name else self._rows(name)
        if rows.next > start:
            rows = self._rows(name)
        check_at_most(name, MAX_ROWS_BYTES, (stop - start) * rows.row_bytes, "bytes at once")
        self.unpacked += (stop - rows.next) * rows.row_bytes
        for _ in range(rows.next, start):
            rows.read(name, 1)
        stored = rows.read(name, stop - start)
        narrow = np.empty(stored.shape, np.uint8)
        if narrow_into(narrow, stored):
            self.values_of_array = narrow
            return "uint8"
        self.values_of_array = as_float32(stored)
        return "float32"

    def _rows(self, name: str) -> Rows:
        member = checked_member(self.archive, name)
        allowed = ALWAYS_ALLOWED_BYTES + MAX_INFLATION * member.compress_size
        declared = f"bytes declared in {member.compress_size:,}"
        check_at_most(name, allowed, member.file_size, declared)
        content = self.archive.open(member)
        shape, fortran, dtype = header_of(name, content)
        if fortran and len(shape) > 1:
            raise RefusedError(name, "expected rows one after the other: save it in C order")
        held = member.file_size - content.tell()
        if not shape or min(shape) < 0 or math.prod(shape) * dtype.itemsize != held:
            raise RefusedError(name, f"declares {dtype} {str(shape)[:80]} and holds {held:,} bytes")
        rows = Rows(content, shape, dtype)
        self.open_rows = (name, rows)
        return rows

    def values(self) -> memoryview:
        """What is in the array that was asked for last."""
        array, self.values_of_array = self.values_of_array, None
        return array.data.cast("B") if array is not None and array.size else memoryview(b"")
