"""Read any kind of Keras file (layers, weights, configuration) without executing anything."""

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

# The largest weights that are read (64 MB), twice that for an optimizer's state, which is not read,
# and a margin.
MAX_FILE_BYTES = 256 * 2**20
KERAS_FILE = "a Keras file (.h5 or .keras)"


@dataclass(frozen=True)
class KerasFile:
    """The content of a Keras file.

    weights: layer name → weight name (`kernel`, `bias`) → array, in Keras's order; layers without
    weights are left out.
    network: the network of the configuration; None for a weights-only file without an architecture.
    place: where the configuration is, for errors.
    archive: whether it is a .keras file. stored: whether weights have the layout of Keras 3.
    numbered: class → weights in Keras's order, for a .weights.h5 without an architecture; `weights`
    is then empty, because such files need not contain layer names.
    objects: (module, class) of every object that the configuration names.
    preprocessing: recorded by ytf-torch when it wrote the file; None in files written by Keras.
    origin: recorded by ytf-torch when it wrote the file; None in files written by Keras.
    architecture: the architecture given for a weights-only file; None for other files.
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

    def read_with(self, requested: Preprocessing | float | None) -> Preprocessing:
        """The requested preprocessing, else the recorded one, else RAW.

        Raises InputError where the request contradicts the record.
        """
        recorded = self.preprocessing
        wanted = recorded or RAW if requested is None else preprocessing_of(requested)
        if recorded is not None and wanted != recorded:
            found = f"{recorded.text}, as ytf-torch recorded in the file"
            remedy = f"Leave {argument(wanted.asked_by[0])} out"
            raise mismatch(self.path, f"{wanted.words}, as asked for", found, remedy)
        return wanted

    @property
    def format(self) -> str:
        """The file name extension with which Keras itself writes and reads this format."""
        if self.archive:
            return "keras"
        return "weights.h5" if self.stored else "h5"


def read_keras_file(
    path: Path, architecture: Path | Architecture | None = None, *, goodnet: bool = False
) -> KerasFile:
    """Read a Keras file: HDF5 of Keras 2 or 3, a full model or weights only, or a .keras archive.

    architecture: for a weights-only file, an architecture or a file for `read_architecture`.
    goodnet: expect a GoodNet, which is otherwise refused. Raises InputError, naming the place in
    the file, where it is no Keras file, is damaged, links to other files, names code, or exceeds
    the size limits; and where an architecture is given for a file that has its own.
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
            file = _archived(path, archive, goodnet=goodnet)
            recorded = _in_archive(archive, path)
            origin = origin_of(archive.metadata_text(ORIGIN))
            return replace(file, preprocessing=recorded, origin=origin)
    if kind != HDF5:
        remedy = "One of ytf-convert's is converted already" if kind == SAFETENSORS else ""
        raise wrong_kind(path, KERAS_FILE, remedy)
    with open_hdf5(path) as root:
        listed = layers_of(root)
        config = text_attribute(root, "model_config")
        if config is not None and architecture is not None:
            raise own_architecture(path)
        if config is not None or architecture is not None:
            file = _with_network(path, root, listed, config, architecture, goodnet=goodnet)
        else:
            file = _weights_alone(path, root, listed)
        origin = origin_of(text_attribute(root, ORIGIN))
        return replace(file, preprocessing=_in_root(root, path), origin=origin)


def own_architecture(path: Path) -> InputError:
    """The error for an architecture that is given for a file with its own."""
    expected = f"a weights-only file with {argument('architecture')}"
    return mismatch(path, expected, "a full model", f"Leave {argument('architecture')} out")


def recorded_in(path: Path) -> Preprocessing | None:
    """The preprocessing that ytf-torch recorded in a Keras file; None in files written by Keras.

    Reads nothing else. Returns None for a file that cannot be opened: the error is left to the
    function that reads the whole file.
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
    return recorded_preprocessing(
        archive.metadata_text(RECORDED_AS), f"{path}:{METADATA}, {RECORDED_AS}"
    )


def _in_root(root: Group, path: Path) -> Preprocessing | None:
    return recorded_preprocessing(text_attribute(root, RECORDED_AS), f"{path}@{RECORDED_AS}")


def _with_network(
    path: Path,
    root: Group,
    listed: tuple[Group, list[str]] | None,
    config: str | None,
    architecture: Architecture | None,
    *,
    goodnet: bool,
) -> KerasFile:
    """An HDF5 file with an architecture, from its own configuration or from another file."""
    group = root if listed is None else listed[0]
    version = _version(root, group)
    place = f"{path}@model_config"
    model = None if config is None else read_config(config, place)
    if architecture is not None:
        place, model = architecture.place, architecture.model
        version = architecture.keras_version or version
    assert model is not None
    if not goodnet:
        _check_no_goodnet(model, path)
    network = network_of(model, place, version or "unknown")
    own_config = architecture is None
    if listed is None:
        weights = weights_in_store(root, network, own_config=own_config)
    else:
        weights = weights_by_order(*listed, network, own_config=own_config)
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
    """The Keras version recorded for the weights, else for the file; None where there is none."""
    return text_attribute(group, "keras_version") or text_attribute(root, "keras_version")


def _weights_alone(path: Path, root: Group, listed: tuple[Group, list[str]] | None) -> KerasFile:
    """A weights-only HDF5 file without an architecture."""
    sha256, place = _sha256(path), str(path)
    if listed is None:
        numbered = stored_layers(store_inside(root))
        return KerasFile(path, sha256, "unknown", {}, None, place, stored=True, numbered=numbered)
    group, names = listed
    version = _version(root, group)
    weights = weights_by_name(group, names)
    return KerasFile(path, sha256, version or "unknown", weights, None, place)


def _archived(path: Path, archive: KerasArchive, *, goodnet: bool) -> KerasFile:
    """A .keras file, whose configuration maps the numbered layers of its store to names."""
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
    """Raises InputError for a GoodNet written by keras_goodnet.py: two networks and their rule."""
    if model.outputs == (GOODNET,) and any(
        layer.name.startswith(REPAIRED) for layer in model.layers
    ):
        remedy = "Give the files that it was made from"
        raise InputError(path, "a GoodNet, which holds B and B′", remedy)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
