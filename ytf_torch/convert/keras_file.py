"""What is in a Keras file, of whatever kind: layers, arrays and configuration, nothing executed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ytf_torch.convert.keras_config import (
    REPAIRED,
    KerasLayer,
    KerasModel,
    network_inside,
    precision_of,
    read_config,
)
from ytf_torch.convert.keras_h5 import Arrays, layers_of
from ytf_torch.convert.keras_h5 import weights_by_layer as h5_weights
from ytf_torch.convert.keras_variables import StoredLayer, store_inside, stored_layers
from ytf_torch.convert.keras_variables import weights_by_layer as stored_weights
from ytf_torch.convert.keras_zip import CONFIG, METADATA, KerasArchive, open_keras_archive
from ytf_torch.disk.hdf5 import Group, open_hdf5, text_attribute
from ytf_torch.disk.reading import (
    HDF5,
    KERAS_ARCHIVE,
    SAFETENSORS,
    UNKNOWN_ZIP,
    checked_file,
    is_zip,
    kind_of,
    wrong_kind,
)
from ytf_torch.errors import InputError, argument, mismatch
from ytf_torch.network.pixel_scale import (
    ASSUMED,
    RECORDED_AS,
    pixel_scale_text,
    recorded_pixel_scale,
)
from ytf_torch.network.provenance import ORIGIN, Origin, origin_of

# The weights of a network as large as is read, and as much again twice for an optimizer, which is
# not read.
MAX_FILE_BYTES = 256 * 2**20
KERAS_FILE = "a Keras file (.h5 or .keras)"


@dataclass(frozen=True)
class KerasFile:
    """The content of a Keras file.

    weights: layer name → its arrays, in the order in which Keras lists them, by what they are
    called (`kernel`, `bias`); layers without weights are left out.
    model: the network's graph, None in a file of weights only. place: where the graph is, for
    errors.
    precision: float32 or float64, in which Keras computes it, None in a file of weights only.
    holder: the layer that is the network, where the file has a model around it.
    archive: whether it is a .keras.
    numbered: the weights of a .weights.h5 by class, in Keras's order; `weights` is empty then, for
    such a file need not tell names.
    objects: module and class of all that the configuration names.
    pixel_scale: what ytf-torch recorded when it wrote the file; None in files of Keras's own.
    origin: of a file that was written here; none of Keras's own tells it.
    """

    path: Path
    sha256: str
    keras_version: str
    weights: Mapping[str, Arrays]
    model: KerasModel | None
    place: str
    precision: str | None = None
    holder: str | None = None
    archive: bool = False
    numbered: Mapping[str, list[StoredLayer]] | None = None
    objects: frozenset[tuple[str | None, str]] = frozenset()
    pixel_scale: float | None = None
    origin: Origin | None = None

    def scale_to_read_with(self, asked: float | None) -> float:
        """The pixel scale that was asked for, else the recorded one, else ASSUMED.

        Raises InputError where the first two contradict each other.
        """
        if asked is not None and self.pixel_scale not in (None, asked):
            raise mismatch(
                self.path,
                f"pixel scale {pixel_scale_text(asked)}, as asked for",
                f"{pixel_scale_text(self.pixel_scale or 0)}, as ytf-torch recorded in the file",
                f"Leave {argument('pixel_scale')} out",
            )
        return asked or self.pixel_scale or ASSUMED

    @property
    def format(self) -> str:
        """The ending under which Keras itself writes and reads a file like this one."""
        if self.numbered is not None:
            return "weights.h5"
        return "keras" if self.archive else "h5"


def read_keras_file(path: Path) -> KerasFile:
    """Read a Keras file: HDF5 of Keras 2 or 3, a full model or weights only, or a .keras archive.

    Raises InputError, naming the place in the file, where it is none, is damaged, leads to other
    files, asks for code, or declares more weights than are read.
    """
    if checked_file(path).stat().st_size > MAX_FILE_BYTES:
        raise mismatch(path, f"at most {MAX_FILE_BYTES:,} bytes", f"{path.stat().st_size:,}")
    kind = kind_of(path)
    if kind in (KERAS_ARCHIVE, UNKNOWN_ZIP):
        with open_keras_archive(path) as archive:
            found = _stored(path, archive.weights, archive.config, archive.keras_version)
            scale, origin = _archive_scale(archive, path), origin_of(archive.told(ORIGIN))
            return replace(found, pixel_scale=scale, origin=origin)
    if kind != HDF5:
        remedy = "One of ytf-convert's is converted already" if kind == SAFETENSORS else ""
        raise wrong_kind(path, KERAS_FILE, remedy)
    with open_hdf5(path) as root:
        listed = layers_of(root)
        found = _listed(path, root, *listed) if listed else _stored(path, root, None, "unknown")
        origin = origin_of(text_attribute(root, ORIGIN))
        return replace(found, pixel_scale=_root_scale(root, path), origin=origin)


def recorded_scale(path: Path) -> float | None:
    """The pixel scale that ytf-torch recorded in a Keras file, None in files of Keras's own.

    Nothing else of it is read, and none is told of a file that cannot be opened: whoever reads it
    whole says why.
    """
    try:
        if is_zip(path):
            with open_keras_archive(path) as archive:
                return _archive_scale(archive, path)
        with open_hdf5(path) as root:
            return _root_scale(root, path)
    except InputError:
        return None


def _archive_scale(archive: KerasArchive, path: Path) -> float | None:
    return recorded_pixel_scale(archive.told(RECORDED_AS), f"{path}:{METADATA}, {RECORDED_AS}")


def _root_scale(root: Group, path: Path) -> float | None:
    return recorded_pixel_scale(text_attribute(root, RECORDED_AS), f"{path}@{RECORDED_AS}")


def _listed(path: Path, root: Group, group: Group, names: list[str]) -> KerasFile:
    """An HDF5 file of Keras 2, which lists its layers by name."""
    config, place = text_attribute(root, "model_config"), f"{path}@model_config"
    outer = None if config is None else read_config(config, place)
    model, holder, precision = (
        (None, None, None) if outer is None else _network_of(outer, place, path)
    )
    objects = frozenset() if outer is None else outer.objects
    version = text_attribute(group, "keras_version") or text_attribute(root, "keras_version")
    nested = None if holder is None else holder.name
    weights = h5_weights(group, names, nested, model)
    sha256, written_by = _sha256(path), version or "unknown"
    return KerasFile(
        path, sha256, written_by, weights, model, place, precision, nested, objects=objects
    )


def _stored(path: Path, root: Group, config: str | None, version: str) -> KerasFile:
    """Keras's own format, which numbers its layers; with a configuration it is known by which."""
    place, sha256 = f"{path}:{CONFIG}", _sha256(path)
    if config is None:
        numbered = stored_layers(store_inside(root, None, None))
        return KerasFile(path, sha256, version, {}, None, place, numbered=numbered)
    outer = read_config(config, place)
    model, holder, precision = _network_of(outer, place, path)
    weights = stored_weights(store_inside(root, outer, holder), model)
    nested = None if holder is None else holder.name
    return KerasFile(
        path,
        sha256,
        version,
        weights,
        model,
        place,
        precision,
        nested,
        archive=True,
        objects=outer.objects,
    )


def _network_of(
    outer: KerasModel, place: str, path: Path
) -> tuple[KerasModel, KerasLayer | None, str | None]:
    """The network in a configuration, the layer that holds it where one does, and its precision.

    Raises InputError for what keras_goodnet.py writes too: two networks and the rule of both.
    """
    model, holder = network_inside(outer, place)
    if any(layer.name == f"{REPAIRED}conv_1" for layer in model.layers):
        remedy = "Give the files that it was made from"
        raise InputError(path, "a GoodNet, which holds B and B′", remedy)
    return model, holder, precision_of(model, place)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
