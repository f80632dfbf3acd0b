"""Reads HDF5 files inside a sandboxed process (see confinement.py), on requests from hdf5.py.

Everything is checked before it is read: each link of a path must be a hard link, each dataset must
store its bytes in the same file (CVE-2026-1669), and the size that it declares must be within the
limits below.
"""

from __future__ import annotations

import encodings.ascii  # noqa: F401  used by h5py; the sandbox can load no module later
import math
import os
import re
import sys
from io import SEEK_END, BufferedReader, BytesIO, FileIO
from itertools import islice
from typing import Any

import h5py
import numpy as np

from ytf_torch.disk.narrowing import as_float32, narrow_into
from ytf_torch.disk.refused import RefusedError, check_at_most

if sys.platform != "win32":
    import fcntl

# On top of the interpreter's own memory. A typical face set needs about 20 MB, a chunk of the
# largest size two copies of itself.
MAX_MEMORY = 384 * 2**20
# CPU time for one opened file: SECONDS + decompressed bytes / BYTES_PER_SECOND. Opening takes
# milliseconds, and compressed faces are read at 200 MB/s and more.
SECONDS = 4
BYTES_PER_SECOND = 20 * 2**20
# The largest configuration that Keras's own applications write is below 1 MB.
MAX_TEXT_BYTES = 4 * 2**20
# A model of a thousand layers has some thousand array names.
MAX_NAMES = 10_000
# Keras's names are below 100 bytes.
MAX_NAME_BYTES = 1024
# Limits for the member list quoted in error messages.
MAX_LISTED, MAX_LISTED_NAME = 10, 40
# HDF5 decompresses a chunk as a whole. h5py chooses chunks of up to 1 MB, users some hundred faces
# (60 MB).
MAX_CHUNK_BYTES = 128 * 2**20
# Chunk cache: without it each image would decompress its whole chunk again, with which intact files
# exceeded the time limit.
CACHED_CHUNK_BYTES = 64 * 2**20
# The largest array returned by one request.
MAX_ARRAY_BYTES = 128 * 2**20
# Compression ratio: faces compress 3 to 20 times; a decompression bomb reaches gzip's maximum, 1000
# times. ALWAYS_ALLOWED_BYTES are allowed in addition, for small sets of black images.
MAX_INFLATION = 100
ALWAYS_ALLOWED_BYTES = 64 * 2**20

FILTERS = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher32",
    h5py.h5z.FILTER_LZF: "lzf",
}
LINKS = {h5py.ExternalLink: "an external link", h5py.SoftLink: "a soft link"}
METHODS = ("kind", "names", "listing", "text", "array", "read", "lines", "narrowed", "values")
# Block that is converted to uint8 at once: small enough to stay in the core's cache between the
# conversion and the comparison that follows it.
NARROWED_BYTES = 4 * 2**20
# The superblock: offsets of its version and of its consistency flags, the first version that has
# flags, and the bits of the flags that say that a program has the file open for writing (SWMR too).
VERSION, MARKS, FIRST_MARKED, OPEN_FOR_WRITING = 8, 11, 3, 0b101
KINDS = {h5py.Group: "a group", h5py.Dataset: "a dataset", type(None): "nothing"}


class OpenFile:
    """One opened file and the requests that it answers. Paths are relative to the root; "" is the
    root.

    The HDF5 library receives a Python file object instead of a path, so that it opens no file.
    """

    def __init__(self, content: FileIO | BytesIO) -> None:
        self.bytes = content.seek(0, SEEK_END)
        if isinstance(content, FileIO):
            _lock(content)
        source = content if isinstance(content, BytesIO) else _CompleteReader(content)
        try:
            self.file = h5py.File(source, "r", rdcc_nbytes=CACHED_CHUNK_BYTES)
        except OSError as error:
            raise _not_opened(str(error)) from error
        source.seek(self.file.userblock_size)
        _check_marks(source.read(MARKS + 1))
        self.unpacked = 0
        # The dataset that was read last. HDF5 caches its decompressed chunks while it is open.
        self.last: h5py.Dataset | None = None
        self.pending: np.ndarray[Any, Any] | None = None
        self.buffer = np.empty((0, 0))

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _find(self, path: str) -> Any:  # noqa: ANN401
        """The object at a path, None if there is none. Raises RefusedError for a soft or external
        link on the path: `file[path]` alone would follow it into another file."""
        check_at_most(path[:80], MAX_NAME_BYTES, len(path.encode()), "bytes of a name")
        node = self.file
        for name in path.split("/") if path else ():
            if not isinstance(node, h5py.Group) or name in ("", ".", ".."):
                return None
            link = node.get(name, getlink=True)
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                kind = LINKS.get(type(link), "a link of an unknown kind")
                place = f"{node.name.rstrip('/')}/{name}"
                raise RefusedError(place, f"refused: {kind}, only data in place are read")
            node = node[name]
        return node

    def kind(self, path: str) -> str:
        """The kind of object at a path: "a group", "a dataset", "nothing" or "something else"."""
        return KINDS.get(type(self._find(path)), "something else")

    def names(self, path: str) -> list[str]:
        """The names of a group's members."""
        node = self._find(path)
        if not isinstance(node, h5py.Group):
            raise RefusedError(f"/{path}", f"expected a group, found {self.kind(path)}")
        check_at_most(node.name, MAX_NAMES, len(node), "members")
        names = list(node)
        check_at_most(node.name, MAX_TEXT_BYTES, sum(map(len, names)), "characters of names")
        return [_decoded(name, node.name) for name in names]

    def listing(self, path: str) -> list[str]:
        """A group's first MAX_LISTED members by name, with the shapes of datasets."""
        node = self._find(path)
        lines = []
        for name in islice(node, MAX_LISTED) if isinstance(node, h5py.Group) else ():
            text = name[:MAX_LISTED_NAME]
            member = node[name] if isinstance(node.get(name, getlink=True), h5py.HardLink) else None
            if isinstance(member, h5py.Dataset):
                text += f" ({'×'.join(map(str, member.shape or ()))})"
            lines.append(text)
        return lines

    def text(self, path: str, name: str) -> str | list[str] | None:
        """A text attribute: one text, a list of texts, or None if there is no such attribute."""
        node = self._find(path)
        if node is None or name not in node.attrs:
            return None
        place = f"{node.name}@{name}"
        stored = h5py.h5a.open(node.id, name.encode())
        count = math.prod(stored.shape or ())
        kind = stored.get_type()
        check_at_most(place, MAX_NAMES, count, "texts")
        check_at_most(place, MAX_TEXT_BYTES, count * kind.get_size(), "bytes")
        if not isinstance(kind, h5py.h5t.TypeStringID):
            if count == 0:  # Keras stores an empty list as an empty array of float64
                return []
            raise RefusedError(place, f"expected text, found {kind.dtype}")
        if stored.shape is None:
            raise RefusedError(place, "expected text, found an empty attribute")
        value = node.attrs[name]
        texts = [_decoded(text, place) for text in np.atleast_1d(value).ravel().tolist()]
        check_at_most(place, MAX_TEXT_BYTES, sum(map(len, texts)), "characters")
        return texts if stored.shape else texts[0]

    def array(self, path: str) -> dict[str, Any]:
        """Shape, dtype and chunk shape of a numeric dataset that may be read."""
        node = self._dataset(path)
        return {"shape": node.shape, "dtype": node.dtype.str, "chunks": node.chunks}

    def _dataset(self, path: str) -> h5py.Dataset:
        """The dataset at a path. Raises RefusedError unless it is safe to read: stored in this
        file, with known filters, numeric, and no larger than the file can plausibly hold."""
        node = self._find(path)
        if not isinstance(node, h5py.Dataset):
            kind = KINDS.get(type(node), "something else")
            raise RefusedError(f"/{path}", f"expected a dataset, found {kind}")
        if node.external is not None:
            raise RefusedError(node.name, "refused: external storage, its bytes lie elsewhere")
        if node.is_virtual:
            raise RefusedError(node.name, "refused: a virtual dataset, its bytes lie elsewhere")
        creation = node.id.get_create_plist()
        for index in range(creation.get_nfilters()):
            code = creation.get_filter(index)[0]
            if code not in FILTERS:
                known = ", ".join(FILTERS.values())
                raise RefusedError(node.name, f"expected filters of {known}; found filter {code}")
        if node.shape is None:
            raise RefusedError(node.name, "expected an array, found an empty dataset")
        if node.dtype.kind not in "iuf":
            raw = node.dtype == "V2"
            dtype = "raw 2-byte values, as bfloat16 is stored" if raw else str(node.dtype)[:80]
            raise RefusedError(node.name, f"expected integers or floats, found {dtype}")
        if node.chunks:
            chunk = math.prod(node.chunks) * node.dtype.itemsize
            check_at_most(node.name, MAX_CHUNK_BYTES, chunk, "bytes in a chunk")
        allowed = ALWAYS_ALLOWED_BYTES + MAX_INFLATION * self.bytes
        declared = math.prod(node.shape) * node.dtype.itemsize
        check_at_most(node.name, allowed, declared, f"bytes declared in a file of {self.bytes:,}")
        self.last = node
        return node

    def read(self, path: str, rows: tuple[int, int] | None) -> memoryview:
        """A dataset, or its rows start…stop-1 as `rows` gives them."""
        node = self._dataset(path)
        shape = node.shape if rows is None else (rows[1] - rows[0], *node.shape[1:])
        self._unpack(node, math.prod(shape))
        return _bytes(node[()] if rows is None else node[slice(*rows)])

    def lines(self, path: str, start: int, stop: int, first: int, step: int) -> memoryview:
        """`data[start:stop, :, first::step]` of a dataset (images, channels, height, width)."""
        node = self._dataset(path)
        row = math.prod(node.shape[1:])
        # Counted in full even though few lines are returned: a chunk is decompressed as a whole.
        self._unpack(node, (stop - start) * row)
        if node.chunks:
            return _bytes(node[start:stop, :, first::step])
        # HDF5 reads single lines five times as slowly as whole images, so whole images are read.
        block = NARROWED_BYTES // (row * node.dtype.itemsize) + 1
        _, channels, height, width = node.shape
        lines = len(range(first, height, step))
        selected = np.empty((stop - start, channels, lines, width), node.dtype)
        for at in range(start, stop, block):
            stored = self._stored(node, at, min(at + block, stop))
            selected[at - start : at - start + len(stored)] = stored[:, :, first::step]
        return _bytes(selected)

    def narrowed(self, path: str, start: int, stop: int) -> str:
        """Read rows start…stop-1 of a dataset; `values` returns them. Returns their dtype:
        "uint8" if all values are whole numbers of 0–255, else "float32"."""
        node = self._dataset(path)
        row = math.prod(node.shape[1:])
        self._unpack(node, (stop - start) * row)
        # Chunked data are read in one call: a chunk that two blocks share could be decompressed
        # twice.
        step = stop - start if node.chunks else NARROWED_BYTES // (row * node.dtype.itemsize) + 1
        narrow = np.empty((stop - start, *node.shape[1:]), np.uint8)
        for at in range(start, stop, step):
            stored = self._stored(node, at, min(at + step, stop))
            if not narrow_into(narrow[at - start : at - start + len(stored)], stored):
                whole = stored if len(stored) == stop - start else node[start:stop]
                self.pending = as_float32(whole)
                return "float32"
        self.pending = narrow
        return "uint8"

    def _stored(self, node: h5py.Dataset, start: int, stop: int) -> np.ndarray[Any, Any]:
        """Rows start…stop-1 in the dtype of the file, valid until the next call.

        The buffer is reused: allocating new memory for each block takes as long as reading it.
        """
        shape = (stop - start, *node.shape[1:])
        buffer = self.buffer
        if buffer.dtype != node.dtype or buffer.shape[1:] != shape[1:] or len(buffer) < shape[0]:
            self.buffer = buffer = np.empty(shape, node.dtype)
        rows = buffer[: shape[0]]
        node.read_direct(rows, np.s_[start:stop])
        return rows

    def values(self) -> memoryview:
        """The rows that `narrowed` has read."""
        assert self.pending is not None
        rows, self.pending = self.pending, None
        return _bytes(rows)

    def _unpack(self, node: h5py.Dataset, count: int) -> None:
        """Account for `count` values, which extend the CPU time limit of the file. Raises
        RefusedError if they are more than one request may return."""
        size = count * node.dtype.itemsize
        check_at_most(node.name, MAX_ARRAY_BYTES, size, "bytes at once")
        self.unpacked += size


class _CompleteReader(BufferedReader):
    """A file whose short reads are errors: h5py does not check how many bytes were read, and would
    return whatever was in the buffer before."""

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        count = super().readinto(buffer)
        if count != len(buffer):
            raise OSError("it was truncated while it was read")
        return count


def _lock(file: FileIO) -> None:
    """Take a shared lock, as HDF5 does when it opens a file by path. Raises RefusedError if
    another program has it open for writing: what is read meanwhile could be half-written."""
    if sys.platform == "win32" or os.environ.get("HDF5_USE_FILE_LOCKING") in ("FALSE", "0"):
        return
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RefusedError(
            "", "another program has it open for writing: close it there first"
        ) from error
    except OSError:  # some file systems have no locks
        pass


def _check_marks(superblock: bytes) -> None:
    """Raises RefusedError if a file's superblock marks it as open for writing. HDF5 checks that
    only when it opens a file by path."""
    if superblock[VERSION] >= FIRST_MARKED and superblock[MARKS] & OPEN_FOR_WRITING:
        raise RefusedError(
            "",
            "marked as open for writing: close it there first; if the program that wrote it "
            "crashed, h5clear --status clears the mark",
        )


def _bytes(array: np.ndarray[Any, Any]) -> memoryview:
    """An array's bytes in C order."""
    array = np.ascontiguousarray(array)
    return array.data.cast("B") if array.size else memoryview(b"")


def _not_opened(why: str) -> Exception:
    """The error for a file that the HDF5 library does not open. Known messages are reworded."""
    if truncated := re.search(r"truncated file: eof = (\d+), .* stored_eof = (\d+)", why):
        present, whole = map(int, truncated.groups())
        return RefusedError("", f"truncated: {present:,} of {whole:,} bytes; download it again")
    if "driver should be used" in why:
        return RefusedError("", "refused: part of a multi-file HDF5; save it as one file")
    return OSError(why)


def _decoded(value: object, place: str) -> str:
    try:
        text = value.decode() if isinstance(value, bytes) else str(value)
        text.encode()
    except UnicodeError as error:
        raise RefusedError(place, "expected UTF-8 text") from error
    return text
