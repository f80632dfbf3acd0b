"""How HDF5 files are read, in a confined process: see confinement.py. hdf5.py asks.

Nothing is read before it has been looked at: every link on the way must be a hard link, every
dataset must keep its bytes in this very file (CVE-2026-1669), and what it declares must be
within the limits below.
"""

from __future__ import annotations

import encodings.ascii  # noqa: F401  h5py needs it, and no module can be loaded later
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

# Beyond what Python itself takes; a real face set needs some 20 MB, an allowed chunk two copies.
MAX_MEMORY = 384 * 2**20
# Of processor time for one opened file, plus a second for each BYTES_PER_SECOND unpacked:
# opening takes milliseconds, and reading compressed faces gives 200 MB a second and more.
SECONDS = 4
BYTES_PER_SECOND = 20 * 2**20
# The largest configuration that Keras's own applications write is below 1 MB.
MAX_TEXT_BYTES = 4 * 2**20
# A model of a thousand layers has some thousand names of arrays.
MAX_NAMES = 10_000
# Keras's names are below 100 bytes.
MAX_NAME_BYTES = 1024
# Of what a group holds, for an error's line.
MAX_LISTED, MAX_LISTED_NAME = 10, 40
# A chunk is unpacked whole. h5py chooses chunks of up to 1 MB, people some hundred faces (60 MB).
MAX_CHUNK_BYTES = 128 * 2**20
# Chunk cache: without it each image would decompress its whole chunk again, with which intact files
# exceeded the time limit.
CACHED_CHUNK_BYTES = 64 * 2**20
# The largest array handed over at once.
MAX_ARRAY_BYTES = 128 * 2**20
# Faces shrink 3 to 20 times; gzip's limit, and a bomb's, is 1000 times. ALWAYS_ALLOWED_BYTES come
# on top, for small sets of black pictures.
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
# What is narrowed at once: it stays in a core's own memory between one look and the next.
NARROWED_BYTES = 4 * 2**20
# Where a file's superblock, from version 3 on, has the marks of programs that write to it.
VERSION, MARKS, FIRST_MARKED, OPEN_FOR_WRITING = 8, 11, 3, 0b101
KINDS = {h5py.Group: "a group", h5py.Dataset: "a dataset", type(None): "nothing"}


class OpenFile:
    """One opened file, and what may be asked of it. Paths are relative to the root, "" is it.

    HDF5 is given no path but a file of Python's to read from: it opens none itself.
    """

    def __init__(self, content: FileIO | BytesIO) -> None:
        self.bytes = content.seek(0, SEEK_END)
        if isinstance(content, FileIO):
            _lock(content)
        source = content if isinstance(content, BytesIO) else _Whole(content)
        try:
            self.file = h5py.File(source, "r", rdcc_nbytes=CACHED_CHUNK_BYTES)
        except OSError as error:
            raise _not_opened(str(error)) from error
        source.seek(self.file.userblock_size)
        _check_marks(source.read(MARKS + 1))
        self.unpacked = 0
        # An open dataset keeps its unpacked chunks.
        self.last: h5py.Dataset | None = None
        self.found: np.ndarray[Any, Any] | None = None
        self.room = np.empty((0, 0))

    def close(self) -> None:
        """Close it."""
        self.file.close()

    def _find(self, path: str) -> Any:  # noqa: ANN401
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
        """What lies at a path: a group, a dataset, nothing."""
        return KINDS.get(type(self._find(path)), "something else")

    def names(self, path: str) -> list[str]:
        """The names of what lies in a group."""
        node = self._find(path)
        if not isinstance(node, h5py.Group):
            raise RefusedError(f"/{path}", f"expected a group, found {self.kind(path)}")
        check_at_most(node.name, MAX_NAMES, len(node), "members")
        names = list(node)
        check_at_most(node.name, MAX_TEXT_BYTES, sum(map(len, names)), "characters of names")
        return [_decoded(name, node.name) for name in names]

    def listing(self, path: str) -> list[str]:
        """What a group holds: the first MAX_LISTED names, and the shapes of datasets."""
        node = self._find(path)
        found = []
        for name in islice(node, MAX_LISTED) if isinstance(node, h5py.Group) else ():
            text = name[:MAX_LISTED_NAME]
            inside = node[name] if isinstance(node.get(name, getlink=True), h5py.HardLink) else None
            if isinstance(inside, h5py.Dataset):
                text += f" ({'×'.join(map(str, inside.shape or ()))})"
            found.append(text)
        return found

    def text(self, path: str, name: str) -> str | list[str] | None:
        """An attribute of text: one, a list of them, or None where there is none."""
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
        """Shape, dtype and chunks of a dataset of numbers that may be read."""
        node = self._dataset(path)
        return {"shape": node.shape, "dtype": node.dtype.str, "chunks": node.chunks}

    def _dataset(self, path: str) -> h5py.Dataset:
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
            found = "raw 2-byte values, as bfloat16 is stored" if raw else str(node.dtype)[:80]
            raise RefusedError(node.name, f"expected integers or floats, found {found}")
        if node.chunks:
            chunk = math.prod(node.chunks) * node.dtype.itemsize
            check_at_most(node.name, MAX_CHUNK_BYTES, chunk, "bytes in a chunk")
        allowed = ALWAYS_ALLOWED_BYTES + MAX_INFLATION * self.bytes
        declared = math.prod(node.shape) * node.dtype.itemsize
        check_at_most(node.name, allowed, declared, f"bytes declared in a file of {self.bytes:,}")
        self.last = node
        return node

    def read(self, path: str, rows: tuple[int, int] | None) -> memoryview:
        """A dataset, or some rows of it."""
        node = self._dataset(path)
        shape = node.shape if rows is None else (rows[1] - rows[0], *node.shape[1:])
        self._unpack(node, math.prod(shape))
        return _bytes(node[()] if rows is None else node[slice(*rows)])

    def lines(self, path: str, start: int, stop: int, first: int, step: int) -> memoryview:
        """Of images start…stop-1 of a dataset (images, channels, height, width), every step-th
        line from `first` on: (images, channels, lines, width)."""
        node = self._dataset(path)
        row = math.prod(node.shape[1:])
        # Of a chunk, all is unpacked whatever is asked of it.
        self._unpack(node, (stop - start) * row)
        if node.chunks:
            return _bytes(node[start:stop, :, first::step])
        # Line by line takes five times as long as all of them.
        many = NARROWED_BYTES // (row * node.dtype.itemsize) + 1
        _, channels, height, width = node.shape
        lines = len(range(first, height, step))
        found = np.empty((stop - start, channels, lines, width), node.dtype)
        for at in range(start, stop, many):
            stored = self._stored(node, at, min(at + many, stop))
            found[at - start : at - start + len(stored)] = stored[:, :, first::step]
        return _bytes(found)

    def narrowed(self, path: str, start: int, stop: int) -> str:
        """Read some rows of a dataset; `values` hands them over. The type they have then: uint8
        where all of them are whole numbers of 0–255, else float32."""
        node = self._dataset(path)
        row = math.prod(node.shape[1:])
        self._unpack(node, (stop - start) * row)
        # A chunk is unpacked whole whatever is asked of it, so chunks are not asked twice.
        step = stop - start if node.chunks else NARROWED_BYTES // (row * node.dtype.itemsize) + 1
        narrow = np.empty((stop - start, *node.shape[1:]), np.uint8)
        for at in range(start, stop, step):
            stored = self._stored(node, at, min(at + step, stop))
            if not narrow_into(narrow[at - start : at - start + len(stored)], stored):
                whole = stored if len(stored) == stop - start else node[start:stop]
                self.found = as_float32(whole)
                return "float32"
        self.found = narrow
        return "uint8"

    def _stored(self, node: h5py.Dataset, start: int, stop: int) -> np.ndarray[Any, Any]:
        """Some rows as stored, until the next are asked for: they lie where the last ones lay, as
        memory that is new each time takes as long to get as the rows."""
        shape = (stop - start, *node.shape[1:])
        room = self.room
        if room.dtype != node.dtype or room.shape[1:] != shape[1:] or len(room) < shape[0]:
            self.room = room = np.empty(shape, node.dtype)
        rows = room[: shape[0]]
        node.read_direct(rows, np.s_[start:stop])
        return rows

    def values(self) -> memoryview:
        """What `narrowed` has read."""
        assert self.found is not None
        found, self.found = self.found, None
        return _bytes(found)

    def _unpack(self, node: h5py.Dataset, count: int) -> None:
        wanted = count * node.dtype.itemsize
        check_at_most(node.name, MAX_ARRAY_BYTES, wanted, "bytes at once")
        self.unpacked += wanted


class _Whole(BufferedReader):
    """A file of which all is read that is asked for: h5py does not look at how much was."""

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        found = super().readinto(buffer)
        if found != len(buffer):
            raise OSError("it was cut off while it was read")
        return found


def _lock(file: FileIO) -> None:
    """Share a file with other readers, as HDF5 does where it opens a file itself. Raises
    RefusedError where somebody has it open for writing."""
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
    """Raises RefusedError where a file is marked as open for writing. HDF5 looks at these marks
    itself where it opens a file itself."""
    if superblock[VERSION] >= FIRST_MARKED and superblock[MARKS] & OPEN_FOR_WRITING:
        raise RefusedError(
            "",
            "marked as open for writing: close it there first; if the program that wrote it "
            "crashed, h5clear --status takes the mark off",
        )


def _bytes(array: np.ndarray[Any, Any]) -> memoryview:
    """An array's bytes, in order and in its own type."""
    array = np.ascontiguousarray(array)
    return array.data.cast("B") if array.size else memoryview(b"")


def _not_opened(why: str) -> Exception:
    """Why the HDF5 library does not open a file, in words; messages not listed here as they are."""
    if cut_off := re.search(r"truncated file: eof = (\d+), .* stored_eof = (\d+)", why):
        here, whole = map(int, cut_off.groups())
        return RefusedError("", f"cut off: {here:,} of {whole:,} bytes are here; fetch it again")
    if "driver should be used" in why:
        return RefusedError("", "refused: a part of an HDF5 of several files; save it as one file")
    return OSError(why)


def _decoded(value: object, place: str) -> str:
    try:
        text = value.decode() if isinstance(value, bytes) else str(value)
        text.encode()
    except UnicodeError as error:
        raise RefusedError(place, "expected UTF-8 text") from error
    return text
