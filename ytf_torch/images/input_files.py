"""Which files a user means who names photos, face sets and folders of them."""

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
# YouTube Faces has 621,126 pictures.
MAX_ENTRIES = 1_000_000


@dataclass(frozen=True)
class Unreadable:
    """An input that could not be read, and why."""

    input: str
    reason: str


def input_files(paths: Iterable[Path]) -> Iterator[Path | Unreadable]:
    """The files among `paths`, and those in folders among them, folders within folders included.

    What a user names may be a link; inside a folder links are not followed, whatever they lead to,
    so that every file comes once. There only files with a photo's or a face set's ending count, in
    order of their names; hidden ones do not. A folder without any, one that cannot be read and one
    of more than MAX_ENTRIES entries are Unreadable.
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
        found = False
        for item in _walk(path):
            found = True
            yield item
        if not found:
            problem = f"the folder holds no photo ({FORMATS}) and no HDF5 or .npz file"
            yield Unreadable(str(path), str(InputError(path, problem)))


def _walk(folder: Path) -> Iterator[Path | Unreadable]:
    waiting, left = [folder], MAX_ENTRIES
    while waiting:
        here = waiting.pop()
        try:
            entries = _listed(here, left)
        except OSError as error:
            yield _unreadable(here, error)
            continue
        left -= len(entries)
        if left < 0:
            problem = f"over {MAX_ENTRIES:,} files and folders: name parts of it"
            yield Unreadable(str(folder), str(InputError(folder, problem)))
            return
        own = [entry for entry in entries if not (entry.name.startswith(".") or entry.is_symlink())]
        yield from (
            here / entry.name
            for entry in own
            if Path(entry.name).suffix.lower() in KNOWN_SUFFIXES and not entry.is_dir()
        )
        waiting += reversed([here / entry.name for entry in own if entry.is_dir()])


def _listed(folder: Path, limit: int) -> list[os.DirEntry[str]]:
    """What is in a folder by name; of more than `limit` entries one more than that."""
    with os.scandir(folder) as entries:
        return sorted(islice(entries, limit + 1), key=lambda entry: entry.name)


def _unreadable(path: Path, error: OSError) -> Unreadable:
    return Unreadable(str(path), str(InputError(path, f"cannot be read ({error.strerror})")))
