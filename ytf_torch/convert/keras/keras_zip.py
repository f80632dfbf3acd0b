"""Keras's own format, a zip archive of `config.json`, `metadata.json` and `model.weights.h5`.

The archive is opened, checked and unpacked in a confined process; the weights in it are then read
as those of any HDF5 file are. See save_model in keras/src/saving/saving_lib.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ytf_torch.disk.confined import open_confined
from ytf_torch.disk.hdf5 import Group
from ytf_torch.disk.reading import checked_file

CONFIG, METADATA = "config.json", "metadata.json"


@dataclass(frozen=True)
class KerasArchive:
    """An open .keras file. config: its model as JSON. metadata: what its metadata.json holds.
    weights: the root of its HDF5 file."""

    config: str
    metadata: Mapping[str, object]
    weights: Group

    def told(self, key: str) -> str | None:
        """A text of its metadata; None where there is none."""
        found = self.metadata.get(key)
        return found if isinstance(found, str) else None

    @property
    def keras_version(self) -> str:
        """Of the Keras that wrote it."""
        return self.told("keras_version") or "unknown"


@contextmanager
def open_keras_archive(path: Path) -> Iterator[KerasArchive]:
    """A .keras file, closed when the block ends.

    Raises InputError where it is no zip archive, damaged, lacks a member, or has one with a name
    that leads elsewhere, of more bytes than are read, or other than it says.
    """
    with open_confined("keras_archive_reader", checked_file(path)) as file:
        config, metadata = (file.ask("member", name) for name in (CONFIG, METADATA))
        yield KerasArchive(str(config), _record(metadata), Group(file))


def _record(metadata: str | None) -> dict[str, object]:
    """What metadata.json holds; nothing where it is none, for Keras does without it."""
    try:
        record = json.loads(metadata or "{}")
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
