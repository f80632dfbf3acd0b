"""Read the architecture for a weights-only file from another file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ytf_torch.convert.keras.keras_config import KerasModel, read_config
from ytf_torch.convert.keras.keras_writer import model_config
from ytf_torch.convert.keras.keras_zip import CONFIG, open_keras_archive
from ytf_torch.disk.hdf5 import open_hdf5, text_attribute
from ytf_torch.disk.reading import HDF5, KERAS_ARCHIVE, SAFETENSORS, checked_file, kind_of
from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.checkpoint import load_checkpoint
from ytf_torch.network.module import Network

# The largest configuration in keras.applications has 0.7 MB.
MAX_JSON_BYTES = 8 * 2**20
EXPECTED = "what Keras's model.to_json() gives, or a model file of the same network"


@dataclass(frozen=True)
class Architecture:
    """A network without its weights.

    place: where it is stored, for errors. text: Keras's JSON. keras_version: the version that wrote
    it, None where it is not recorded.
    """

    place: str
    text: str
    model: KerasModel
    keras_version: str | None = None


def architecture_of(network: Network, place: str) -> Architecture:
    """The architecture of a loaded network. place: what to name in errors."""
    text = json.dumps(model_config(network))
    return Architecture(place, text, read_config(text, place))


def read_architecture(path: Path) -> Architecture:
    """Read a network's architecture from the JSON of Keras's model.to_json(), or from any model
    file of the network, whose weights are ignored.

    Raises InputError where the file is neither, is damaged, or names code.
    """
    kind = kind_of(checked_file(path))
    if kind == KERAS_ARCHIVE:
        with open_keras_archive(path) as archive:
            place, version = f"{path}:{CONFIG}", archive.keras_version
            return Architecture(place, archive.config, read_config(archive.config, place), version)
    if kind == HDF5:
        return _of_hdf5(path)
    if kind == SAFETENSORS:
        return architecture_of(load_checkpoint(path).model, str(path))
    with path.open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise mismatch(path, f"JSON of at most {MAX_JSON_BYTES:,} bytes", "more")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise mismatch(path, EXPECTED, "another file") from error
    return Architecture(str(path), text, read_config(text, str(path)), _version(text))


def _of_hdf5(path: Path) -> Architecture:
    with open_hdf5(path) as root:
        text, version = (text_attribute(root, name) for name in ("model_config", "keras_version"))
    if text is None:
        raise InputError(path, f"expected {EXPECTED}, found weights alone")
    place = f"{path}@model_config"
    return Architecture(place, text, read_config(text, place), version)


def _version(text: str) -> str | None:
    record: dict[str, Any] = json.loads(text)
    version = record.get("keras_version")
    return version[:80] if isinstance(version, str) else None
