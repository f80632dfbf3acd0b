"""What is in a Keras file, of whatever kind: layers, arrays and configuration, nothing executed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ytf_torch.convert.keras.keras_architecture import Architecture, read_architecture
from ytf_torch.convert.keras.keras_config import GOODNET, REPAIRED, KerasModel, read_config
from ytf_torch.convert.keras.keras_h5 import Arrays, layers_of, weights_by_name, weights_by_order
from ytf_torch.convert.keras.keras_network import KerasNetwork, network_of
from ytf_torch.convert.keras.keras_variables import (
    StoredLayer,
    store_inside,
    stored_layers,
    weights_in_store,
)
from ytf_torch.convert.keras.keras_zip import CONFIG, METADATA, KerasArchive, open_keras_archive
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
from ytf_torch.network.pixel_scale import RECORDED_AS
from ytf_torch.network.preprocessing import (
    RAW,
    Preprocessing,
    preprocessing_of,
    recorded_preprocessing,
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
    network: as its configuration describes it, None in a file of weights only. place: where the
    configuration is, for errors.
    archive: whether it is a .keras. stored: whether its weights lie as in Keras's own format.
    numbered: the weights of a .weights.h5 by class, in Keras's order, where nothing tells which
    network's they are; `weights` is empty then, for such a file need not tell names.
    objects: module and class of all that the configuration names.
    preprocessing: what ytf-torch recorded when it wrote the file; None in files of Keras's own.
    origin: of a file that was written here; none of Keras's own tells it.
    architecture: where the network of a file of weights only is told; None for other files.
    """

    path: Path
    sha256: str
    keras_version: str
    weights: Mapping[str, Arrays]
    network: KerasNetwork | None
    place: str
    archive: bool = False
    stored: bool = False
    numbered: Mapping[str, list[StoredLayer]] | None = None
    objects: frozenset[tuple[str | None, str]] = frozenset()
    preprocessing: Preprocessing | None = None
    origin: Origin | None = None
    architecture: Architecture | None = None

    def read_with(self, asked: Preprocessing | float | None) -> Preprocessing:
        """The preprocessing that was asked for, else the recorded one, else RAW.

        Raises InputError where the first two contradict each other.
        """
        told = self.preprocessing
        wanted = told or RAW if asked is None else preprocessing_of(asked)
        if told is not None and wanted != told:
            found = f"{told.text}, as ytf-torch recorded in the file"
            remedy = f"Leave {argument(wanted.asked_by[0])} out"
            raise mismatch(self.path, f"{wanted.words}, as asked for", found, remedy)
        return wanted

    @property
    def format(self) -> str:
        """The ending under which Keras itself writes and reads a file like this one."""
        if self.archive:
            return "keras"
        return "weights.h5" if self.stored else "h5"


def read_keras_file(
    path: Path, architecture: Path | Architecture | None = None, *, goodnet: bool = False
) -> KerasFile:
    """Read a Keras file: HDF5 of Keras 2 or 3, a full model or weights only, or a .keras archive.

    architecture: of the network whose weights alone the file holds; a file that
    `read_architecture` reads. goodnet: whether B, B′ and the rule of both are asked for, which
    otherwise are no network. Raises InputError, naming the place in the file, where it is none, is
    damaged, leads to other files, asks for code, or declares more weights than are read; where it
    holds its own architecture beside the one that is given.
    """
    if checked_file(path).stat().st_size > MAX_FILE_BYTES:
        raise mismatch(path, f"at most {MAX_FILE_BYTES:,} bytes", f"{path.stat().st_size:,}")
    if isinstance(architecture, Path):
        architecture = read_architecture(architecture)
    kind = kind_of(path)
    if kind in (KERAS_ARCHIVE, UNKNOWN_ZIP):
        if architecture is not None:
            raise own_architecture(path)
        with open_keras_archive(path) as archive:
            found = _archived(path, archive, goodnet=goodnet)
            told, origin = _in_archive(archive, path), origin_of(archive.told(ORIGIN))
            return replace(found, preprocessing=told, origin=origin)
    if kind != HDF5:
        remedy = "One of ytf-convert's is converted already" if kind == SAFETENSORS else ""
        raise wrong_kind(path, KERAS_FILE, remedy)
    with open_hdf5(path) as root:
        listed = layers_of(root)
        own = text_attribute(root, "model_config")
        if own is not None and architecture is not None:
            raise own_architecture(path)
        if own is not None or architecture is not None:
            found = _with_network(path, root, listed, own, architecture, goodnet=goodnet)
        else:
            found = _weights_alone(path, root, listed)
        origin = origin_of(text_attribute(root, ORIGIN))
        return replace(found, preprocessing=_in_root(root, path), origin=origin)


def own_architecture(path: Path) -> InputError:
    """The error for an architecture that is given of a file that tells its own."""
    expected = f"a file of weights alone beside {argument('architecture')}"
    return mismatch(path, expected, "a whole model", f"Leave {argument('architecture')} out")


def recorded_in(path: Path) -> Preprocessing | None:
    """The preprocessing that ytf-torch recorded in a Keras file, None in files of Keras's own.

    Nothing else of it is read, and none is told of a file that cannot be opened: whoever reads it
    whole says why.
    """
    try:
        if is_zip(path):
            with open_keras_archive(path) as archive:
                return _in_archive(archive, path)
        with open_hdf5(path) as root:
            return _in_root(root, path)
    except InputError:
        return None


def _in_archive(archive: KerasArchive, path: Path) -> Preprocessing | None:
    return recorded_preprocessing(archive.told(RECORDED_AS), f"{path}:{METADATA}, {RECORDED_AS}")


def _in_root(root: Group, path: Path) -> Preprocessing | None:
    return recorded_preprocessing(text_attribute(root, RECORDED_AS), f"{path}@{RECORDED_AS}")


def _with_network(
    path: Path,
    root: Group,
    listed: tuple[Group, list[str]] | None,
    own: str | None,
    architecture: Architecture | None,
    *,
    goodnet: bool,
) -> KerasFile:
    """An HDF5 file whose network is told, by its own configuration or by another file."""
    group = root if listed is None else listed[0]
    version = _version(root, group)
    place = f"{path}@model_config"
    model = None if own is None else read_config(own, place)
    if architecture is not None:
        place, model = architecture.place, architecture.model
        version = architecture.keras_version or version
    assert model is not None
    if not goodnet:
        _check_no_goodnet(model, path)
    network = network_of(model, place, version or "unknown")
    told = architecture is None
    if listed is None:
        weights = weights_in_store(root, network, own_config=told)
    else:
        weights = weights_by_order(*listed, network, own_config=told)
    return KerasFile(
        path,
        _sha256(path),
        version or "unknown",
        weights,
        network,
        place,
        stored=listed is None,
        objects=model.objects,
        architecture=architecture,
    )


def _version(root: Group, group: Group) -> str | None:
    """Keras's version that wrote the weights of a group, or else the file."""
    return text_attribute(group, "keras_version") or text_attribute(root, "keras_version")


def _weights_alone(path: Path, root: Group, listed: tuple[Group, list[str]] | None) -> KerasFile:
    """An HDF5 file of weights whose network is not told."""
    sha256, place = _sha256(path), str(path)
    if listed is None:
        numbered = stored_layers(store_inside(root))
        return KerasFile(path, sha256, "unknown", {}, None, place, stored=True, numbered=numbered)
    group, names = listed
    version = _version(root, group)
    weights = weights_by_name(group, names)
    return KerasFile(path, sha256, version or "unknown", weights, None, place)


def _archived(path: Path, archive: KerasArchive, *, goodnet: bool) -> KerasFile:
    """Keras's own format, which numbers its layers; by its configuration it is known which."""
    place, version = f"{path}:{CONFIG}", archive.keras_version
    model = read_config(archive.config, place)
    if not goodnet:
        _check_no_goodnet(model, path)
    network = network_of(model, place, version)
    weights = weights_in_store(archive.weights, network, own_config=True)
    sha256 = _sha256(path)
    return KerasFile(
        path, sha256, version, weights, network, place, True, True, objects=model.objects
    )


def _check_no_goodnet(model: KerasModel, path: Path) -> None:
    """Raises InputError for what keras_goodnet.py writes: two networks and the rule of both."""
    if model.outputs == (GOODNET,) and any(one.name.startswith(REPAIRED) for one in model.layers):
        remedy = "Give the files that it was made from"
        raise InputError(path, "a GoodNet, which holds B and B′", remedy)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
