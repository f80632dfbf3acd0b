"""Expands the paths that a user gives (photos, image sets, folders of them) into files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ytf_torch.errors import InputError
from ytf_torch.images.photos import FORMATS, SUFFIXES

SET_SUFFIXES = (".h5", ".hdf5", ".npz")
KNOWN_SUFFIXES = (*SUFFIXES, *SET_SUFFIXES)
# YouTube Faces has 621,126 images.
MAX_ENTRIES = 1_000_000


@dataclass(frozen=True)
class Unreadable:
    """An input that cannot be read. reason: the error message."""

    input: str
    reason: str


def input_files(paths: Iterable[Path]) -> Iterator[Path | Unreadable]:
    """The files among `paths`, and the files in folders among them, recursively.

    A path itself may be a link. Inside folders links are not followed, so that each file is
    returned once and cycles end. There, files with KNOWN_SUFFIXES are returned, sorted by name;
    hidden ones are skipped. A folder that has no such file, cannot be read, or has more than
    MAX_ENTRIES entries is returned as Unreadable.
    """
    for path in paths:
        try:
            is_folder = path.is_dir()
        except OSError as error:
            yield _unreadable(path, error)
            continue
        if not is_folder:
            yield path
            continue
        has_items = False
        for item in _walk(path):
            has_items = True
            yield item
        if not has_items:
            problem = f"the folder holds no photo ({FORMATS}) and no HDF5 or .npz file"
            yield Unreadable(str(path), str(InputError(path, problem)))


def _walk(folder: Path) -> Iterator[Path | Unreadable]:
    # A stack instead of recursion: folders may be nested deeper than Python's call stack.
    pending, budget = [folder], MAX_ENTRIES
    while pending:
        current = pending.pop()
        try:
            entries = _listed(current, budget)
        except OSError as error:
            yield _unreadable(current, error)
            continue
        budget -= len(entries)
        if budget < 0:
            problem = f"over {MAX_ENTRIES:,} files and folders: name parts of it"
            yield Unreadable(str(folder), str(InputError(folder, problem)))
            return
        kept = [
            entry for entry in entries if not (entry.name.startswith(".") or entry.is_symlink())
        ]
        yield from (
            current / entry.name
            for entry in kept
            if Path(entry.name).suffix.lower() in KNOWN_SUFFIXES and not entry.is_dir()
        )
        # Reversed, so that the stack returns them in order of their names.
        pending += reversed([current / entry.name for entry in kept if entry.is_dir()])


def _listed(folder: Path, limit: int) -> list[os.DirEntry[str]]:
    """A folder's entries, sorted by name. Stops after `limit` + 1, enough to see that there are too
    many."""
    with os.scandir(folder) as entries:
        return sorted(islice(entries, limit + 1), key=lambda entry: entry.name)


def _unreadable(path: Path, error: OSError) -> Unreadable:
    return Unreadable(str(path), str(InputError(path, f"cannot be read ({error.strerror})")))
