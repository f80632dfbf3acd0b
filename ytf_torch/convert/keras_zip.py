"""Keras's own format, a zip archive of `config.json`, `metadata.json` and `model.weights.h5`.

The archive is opened, checked and unpacked in a confined process; the weights in it are then read
as those of any HDF5 file are. See save_model in keras/src/saving/saving_lib.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ytf_torch.disk.confined import open_confined
from ytf_torch.disk.hdf5 import Group
from ytf_torch.disk.reading import checked_file
from ytf_torch.network.pixel_scale import RECORDED_AS

CONFIG, METADATA = "config.json", "metadata.json"


@dataclass(frozen=True)
class KerasArchive:
    """An open .keras file. config: its model as JSON. weights: the root of its HDF5 file.
    pixel_scale: as ytf-torch records it, None in files of Keras's own."""

    config: str
    keras_version: str
    weights: Group
    pixel_scale: str | None = None


@contextmanager
def open_keras_archive(path: Path) -> Iterator[KerasArchive]:
    """A .keras file, closed when the block ends.

    Raises InputError where it is no zip archive, damaged, lacks a member, or has one with a name
    that leads elsewhere, of more bytes than are read, or other than it says.
    """
    with open_confined("keras_archive_reader", checked_file(path)) as file:
        config, metadata = (file.ask("member", name) for name in (CONFIG, METADATA))
        version = _told(metadata, "keras_version") or "unknown"
        yield KerasArchive(str(config), version, Group(file), _told(metadata, RECORDED_AS))


def _told(metadata: str | None, key: str) -> str | None:
    try:
        record = json.loads(metadata or "{}")
    except (ValueError, RecursionError):
        return None
    found = record.get(key) if isinstance(record, dict) else None
    return found if isinstance(found, str) else None
