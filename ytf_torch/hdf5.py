"""The one door through which HDF5 files are opened.

A file may come from a stranger, so nothing is read before it has been looked at: every link on
the way must be a hard link, every dataset must keep its bytes in this very file (CVE-2026-1669),
and the declared size must be one the caller allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ytf_torch.errors import InputError, mismatch

MAX_ATTRIBUTE_BYTES = 16 * 2**20
MAX_NAME_BYTES = 1024
SAFE_FILTERS = {"gzip", "lzf", "shuffle", "fletcher32"}
FILTER_NAMES = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher32",
    h5py.h5z.FILTER_LZF: "lzf",
}


def is_hdf5(path: Path) -> bool:
    """Whether the file starts with HDF5's signature."""
    with path.open("rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def checked_file(path: Path) -> Path:
    """`path`, if it is a regular file that can be read. Raises InputError otherwise."""
    if not path.exists():
        raise InputError(path, "no such file")
    if not path.is_file():
        raise InputError(path, "not a file")
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from error
    return path


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.Group]:
    """The root group of an HDF5 file, closed when the block ends.

    Raises InputError where the file is missing, is no HDF5 or breaks off; h5py's own errors
    inside the block are turned into InputErrors too, for they mean a damaged file.
    """
    checked_file(path)
    if not is_hdf5(path):
        raise mismatch(path, "an HDF5 file", "something else (no HDF5 signature)")
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(path, f"damaged or truncated HDF5 file ({error})") from error
    with file:
        try:
            yield file
        except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise InputError(path, f"damaged HDF5 file ({error})") from error


def where(node: h5py.Group | h5py.Dataset) -> str:
    """A file and the place in it, for an error."""
    return f"{node.file.filename}:{node.name}"


def member(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | None:
    """What lies at `path` below `group`; None where nothing does.

    Every component is looked at as a link first. Raises InputError where one is a soft or an
    external link: following those could lead to another file.
    """
    node: h5py.Group | h5py.Dataset = group
    for name in path.split("/"):
        if not isinstance(node, h5py.Group):
            return None
        link = node.get(name, getlink=True) if name not in ("", ".", "..") else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            kind = "an external" if isinstance(link, h5py.ExternalLink) else "a soft"
            raise InputError(f"{where(node)}/{name}", f"refused: {kind} link, only data in place")
        node = node[name]
    return node


def subgroup(group: h5py.Group, path: str) -> h5py.Group:
    """The group at `path`. Raises InputError where there is none."""
    node = member(group, path)
    if not isinstance(node, h5py.Group):
        raise mismatch(f"{where(group)}/{path}", "a group", "none" if node is None else "a dataset")
    return node


def dataset(group: h5py.Group, path: str) -> h5py.Dataset:
    """The dataset at `path`, of numbers that lie in this file; nothing is read yet.

    Raises InputError where it is missing, external, virtual, compressed by a filter that is not
    HDF5's own, or holds anything but integers and floats.
    """
    node = member(group, path)
    if not isinstance(node, h5py.Dataset):
        raise mismatch(
            f"{where(group).rstrip('/')}/{path}",
            "a dataset",
            "nothing" if node is None else "a group",
        )
    if node.external is not None:
        raise InputError(where(node), "refused: its bytes lie in another file (external storage)")
    if node.is_virtual:
        raise InputError(where(node), "refused: a virtual dataset, its bytes lie elsewhere")
    creation = node.id.get_create_plist()
    for index in range(creation.get_nfilters()):
        code = creation.get_filter(index)[0]
        if FILTER_NAMES.get(code) not in SAFE_FILTERS:
            raise mismatch(where(node), f"a filter of {sorted(SAFE_FILTERS)}", f"filter {code}")
    if node.shape is None:
        raise mismatch(where(node), "an array", "an empty dataset")
    if node.dtype.kind not in "iuf":
        kind = "raw 2-byte values, as bfloat16 is stored" if node.dtype.kind == "V" else node.dtype
        raise mismatch(where(node), "integers or floats", kind)
    return node


def read_array(node: h5py.Dataset, max_bytes: int) -> NDArray[Any]:
    """All of a dataset. Raises InputError where it declares more than `max_bytes`."""
    declared = int(np.prod(node.shape, dtype=object)) * node.dtype.itemsize
    if declared > max_bytes:
        raise mismatch(where(node), f"at most {max_bytes:,} bytes", f"{declared:,} bytes declared")
    array: NDArray[Any] = node[()]
    return array


def text_attribute(node: h5py.Group, name: str) -> str | None:
    """A text attribute, whether stored as bytes or str; None where there is none."""
    value = _attribute(node, name)
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        raise mismatch(f"{where(node)}@{name}", "one text", f"an array of {value.shape}")
    return _decoded(value, node, name)


def names_attribute(node: h5py.Group, name: str) -> list[str] | None:
    """A list of names, which Keras splits into name0, name1, … when it is long; None without it."""
    whole = _attribute(node, name)
    parts = [whole] if whole is not None else []
    while whole is None and (part := _attribute(node, f"{name}{len(parts)}")) is not None:
        parts.append(part)
    if not parts:
        return None
    return [_decoded(text, node, name) for part in parts for text in np.atleast_1d(part).ravel()]


def _attribute(node: h5py.Group, name: str) -> Any:  # noqa: ANN401
    if name not in node.attrs:
        return None
    low = h5py.h5a.open(node.id, name.encode())
    size = int(np.prod(low.shape or (1,), dtype=object)) * low.dtype.itemsize
    if size > MAX_ATTRIBUTE_BYTES:
        raise mismatch(
            f"{where(node)}@{name}", f"at most {MAX_ATTRIBUTE_BYTES:,} bytes", f"{size:,}"
        )
    return node.attrs[name]


def _decoded(value: object, node: h5py.Group, name: str) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise mismatch(f"{where(node)}@{name}", "UTF-8 text", repr(value[:20])) from error
    if not isinstance(value, str):
        raise mismatch(f"{where(node)}@{name}", "text", type(value).__name__)
    return value
