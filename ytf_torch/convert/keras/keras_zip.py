"""Read .keras files: zip archives of `config.json`, `metadata.json` and `model.weights.h5`.

A confined process opens, checks and unpacks the archive; the weights inside are read like any HDF5
file. See save_model in keras/src/saving/saving_lib.py.
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
    """An open .keras file.

    config: the text of config.json. metadata: the content of metadata.json. weights: the root group
    of model.weights.h5.
    """

    config: str
    metadata: Mapping[str, object]
    weights: Group

    def metadata_text(self, key: str) -> str | None:
        """A text from the metadata; None where there is none of this key."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    @property
    def keras_version(self) -> str:
        """Version of the Keras that wrote the file."""
        return self.metadata_text("keras_version") or "unknown"


@contextmanager
def open_keras_archive(path: Path) -> Iterator[KerasArchive]:
    """Open a .keras file; it is closed when the block ends.

    Raises InputError where it is no zip archive, is damaged, lacks a member, or has a member whose
    name leads outside the archive, that is too large, or whose size differs from the declared one.
    """
    with open_confined("keras_archive_reader", checked_file(path)) as file:
        config, metadata = (file.ask("member", name) for name in (CONFIG, METADATA))
        yield KerasArchive(str(config), _record(metadata), Group(file))


def _record(metadata: str | None) -> dict[str, object]:
    """The content of metadata.json; empty where it is invalid: Keras loads the file without it."""
    try:
        record = json.loads(metadata or "{}")
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
