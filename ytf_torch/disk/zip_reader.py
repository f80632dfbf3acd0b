"""Reads zip archives inside a sandboxed process (see confinement.py), on requests from archive.py.

Declared sizes are not trusted: a member is decompressed up to the size that it declares, and
refused if there is more.
"""

from __future__ import annotations

import encodings.cp437  # noqa: F401  used by zipfile; the sandbox can load no module later
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
# A member and two copies of it.
MAX_MEMORY = 384 * 2**20
# CPU time for one archive: SECONDS + decompressed bytes / BYTES_PER_SECOND. Opening takes
# milliseconds, and members are decompressed at 100 MB/s.
SECONDS = 4
BYTES_PER_SECOND = 20 * 2**20
MAX_MEMBER_BYTES = 96 * 2**20
# Limits for an array of images, which is decompressed some rows at a time: per request, and as a
# compression ratio. Images compress 3 to 20 times, a decompression bomb 1000 times.
# ALWAYS_ALLOWED_BYTES are allowed in addition, for small sets of black images.
MAX_ROWS_BYTES = 128 * 2**20
MAX_INFLATION, ALWAYS_ALLOWED_BYTES = 100, 64 * 2**20
# The end record with its longest comment and zip64 locator; the central directory of about a
# hundred members.
MAX_TAIL = 2**16 + 22 + 20
MAX_DIRECTORY = 2**13
PACKINGS = {ZIP_STORED: "stored", ZIP_DEFLATED: "deflated"}
# Numbers that PyTorch has too. Long doubles are excluded: they differ between machines.
KINDS, MAX_ITEM_BYTES = "iuf", 8


def open_archive(file: FileIO) -> ZipFile:
    """Open a zip. Raises RefusedError if its central directory is missing or too long, or names a
    member twice.

    The directory's length is checked before zipfile parses it, which would create an object for
    each of millions of members.
    """
    content = BufferedReader(file)
    size = content.seek(0, SEEK_END)
    content.seek(max(size - MAX_TAIL, 0))
    before, signature, record = content.read(MAX_TAIL).rpartition(b"PK\x05\x06")
    if not signature:
        raise RefusedError("", "truncated: the list of members, at the end of a zip, is missing")
    directory_bytes = int.from_bytes(record[8:12], "little")
    if directory_bytes > MAX_DIRECTORY or before[-20:].startswith(b"PK\x06\x07"):
        raise RefusedError("", f"too many members: their list has over {MAX_DIRECTORY:,} bytes")
    archive = ZipFile(content)
    names = archive.namelist()
    if len(set(names)) != len(names):  # programs differ in which of the two they read
        raise RefusedError("", "a member is named twice")
    return archive


def checked_member(archive: ZipFile, name: str) -> ZipInfo:
    """A member that may be unpacked. Raises RefusedError if it is missing, encrypted, or compressed
    by another method than deflate."""
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
    """The content of a member. Raises RefusedError as checked_member does, and if it is larger than
    MAX_MEMBER_BYTES or not of the size that it declares."""
    member = checked_member(archive, name)
    check_at_most(name, MAX_MEMBER_BYTES, member.file_size, "bytes")
    with archive.open(member) as file:
        # read(n) decompresses at most n bytes; read() would inflate a bomb in full.
        content = file.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise RefusedError(name, f"expected {member.file_size:,} bytes, found {len(content):,}")
    return content


@dataclass
class Rows:
    """An array that is decompressed sequentially. next: index of the next row in `content`."""

    content: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    next: int = 0

    @property
    def row_bytes(self) -> int:
        """Size of one row in bytes."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def read(self, name: str, count: int) -> np.ndarray[Any, Any]:
        """The next `count` rows in their stored dtype. Raises RefusedError if the member ends
        before."""
        size = count * self.row_bytes
        content = self.content.read(size)
        if len(content) != size:
            raise RefusedError(name, f"expected {self.shape[0]:,} rows, found fewer")
        self.next += count
        return np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])


def header_of(name: str, content: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read a NumPy header: shape, whether in Fortran order, dtype. Raises RefusedError if there is
    none, or the array holds anything but integers and floats.

    The header is a Python literal. NumPy evaluates it with ast.literal_eval, which runs no code.
    """
    try:
        old = read_magic(content)[0] == 1
        shape, fortran, dtype = (read_array_header_1_0 if old else read_array_header_2_0)(content)
    except Exception as error:  # NumPy's header parser raises many kinds of errors
        raise RefusedError(name, "expected a NumPy array, found something else") from error
    if dtype.kind not in KINDS or dtype.itemsize > MAX_ITEM_BYTES:
        shown = str(dtype)[:80]
        raise RefusedError(name, f"expected integers or floats of 8 bytes at most, found {shown}")
    return shape, fortran, dtype


class OpenFile:
    """One opened archive and the requests that it answers."""

    def __init__(self, file: FileIO) -> None:
        self.archive = open_archive(file)
        self.unpacked = 0
        self.values_of_array: np.ndarray[Any, Any] | None = None
        self.open_rows: tuple[str, Rows] | None = None

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()

    def names(self) -> list[str]:
        """The names of its members."""
        return self.archive.namelist()

    def size(self, name: str) -> int:
        """The size in bytes that a member declares; 0 if there is no such member."""
        return self.archive.getinfo(name).file_size if name in self.archive.namelist() else 0

    def content(self, name: str) -> memoryview:
        """A member's bytes."""
        return memoryview(self._content(name))

    def _content(self, name: str) -> bytes:
        content = unpacked(self.archive, name)
        self.unpacked += len(content)
        return content

    def array(self, name: str) -> dict[str, Any]:
        """Read a member that is a NumPy array and return its shape and dtype; `values` returns its
        values."""
        content = BytesIO(self._content(name))
        shape, fortran, dtype = header_of(name, content)
        size = len(content.getbuffer()) - content.tell()
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size:
            raise RefusedError(name, f"declares {dtype} {str(shape)[:80]} and holds {size:,} bytes")
        stored = np.frombuffer(content.getbuffer()[content.tell() :], dtype)
        array = stored.reshape(shape, order="F" if fortran else "C")
        native = np.ascontiguousarray(array, dtype.newbyteorder("="))
        self.values_of_array = native
        return {"shape": shape, "dtype": native.dtype.str}

    def header(self, name: str) -> dict[str, Any]:
        """Shape and dtype of a member that is a NumPy array; its values are not read."""
        rows = self._rows(name)
        return {"shape": rows.shape, "dtype": rows.dtype.str}

    def rows(self, name: str, start: int, stop: int) -> str:
        """Read rows start…stop-1 of an array; `values` returns them. Returns their dtype: "uint8"
        if all values are whole numbers of 0–255, else "float32".

        A deflate stream can only be read forward: rows that follow the last ones continue it, rows
        before them restart it.
        """
        opened = self.open_rows
        rows = opened[1] if opened and opened[0] == name else self._rows(name)
        if rows.next > start:
            rows = self._rows(name)
        check_at_most(name, MAX_ROWS_BYTES, (stop - start) * rows.row_bytes, "bytes at once")
        self.unpacked += (stop - rows.next) * rows.row_bytes
        for _ in range(rows.next, start):  # skip, one row at a time to bound the memory
            rows.read(name, 1)
        stored = rows.read(name, stop - start)
        narrow = np.empty(stored.shape, np.uint8)
        if narrow_into(narrow, stored):
            self.values_of_array = narrow
            return "uint8"
        self.values_of_array = as_float32(stored)
        return "float32"

    def _rows(self, name: str) -> Rows:
        """Open a member as an array of rows, before its first row."""
        member = checked_member(self.archive, name)
        allowed = ALWAYS_ALLOWED_BYTES + MAX_INFLATION * member.compress_size
        declared = f"bytes declared in {member.compress_size:,}"
        check_at_most(name, allowed, member.file_size, declared)
        content = self.archive.open(member)
        shape, fortran, dtype = header_of(name, content)
        if fortran and len(shape) > 1:
            raise RefusedError(name, "expected C order, found Fortran order: save it in C order")
        size = member.file_size - content.tell()
        if not shape or min(shape) < 0 or math.prod(shape) * dtype.itemsize != size:
            raise RefusedError(name, f"declares {dtype} {str(shape)[:80]} and holds {size:,} bytes")
        rows = Rows(content, shape, dtype)
        self.open_rows = (name, rows)
        return rows

    def values(self) -> memoryview:
        """The values that `array` or `rows` has read last."""
        array, self.values_of_array = self.values_of_array, None
        return array.data.cast("B") if array is not None and array.size else memoryview(b"")
