"""Any model file: a converted model, or a Keras file that is converted on the fly."""

from __future__ import annotations

from pathlib import Path

from ytf_torch.convert.keras.keras_architecture import Architecture
from ytf_torch.convert.keras.keras_file import (
    own_architecture,
    read_keras_file,
    recorded_in,
)
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.disk.reading import checked_file, is_hdf5, is_zip
from ytf_torch.errors import argument, mismatch
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint
from ytf_torch.network.preprocessing import Preprocessing, preprocessing_of
from ytf_torch.network.usable import check_finite


def read_model(
    path: Path,
    preprocessing: Preprocessing | float | None = None,
    architecture: Path | Architecture | None = None,
) -> Checkpoint:
    """Read a safetensors file of ytf-convert, or a Keras file.

    preprocessing: or a pixel scale; needed for a Keras file whose network does not take raw pixels,
    unless ytf-torch wrote it; for a converted model it must be the one in its metadata.
    architecture: of the network whose weights alone a Keras file holds, see read_architecture.
    Raises InputError where the file is neither, it tells another preprocessing, or the network's
    weights overflow on whatever it is shown.

    >>> read_model(Path("bd_net.h5")).model(pixels).equal(network(pixels))
    True
    """
    checkpoint = _read(path, preprocessing, architecture)
    check_finite(checkpoint.model, path)
    return checkpoint


def _read(
    path: Path,
    preprocessing: Preprocessing | float | None,
    architecture: Path | Architecture | None,
) -> Checkpoint:
    if is_keras(path):
        file = read_keras_file(path, architecture)
        return keras_checkpoint(file, file.read_with(preprocessing))
    if architecture is not None:
        raise own_architecture(path)
    checkpoint = load_checkpoint(path)
    check_asked(preprocessing, checkpoint, path, "metadata", "convert")
    return checkpoint


def check_asked(
    asked: Preprocessing | float | None,
    checkpoint: Checkpoint,
    name: object,
    place: str,
    again: str,
) -> None:
    """Raises InputError where a network has another preprocessing than is asked for.

    name: what to call it. place: where it tells its own. again: what to do with a Keras file.
    """
    told = checkpoint.provenance.preprocessing
    wanted = told if asked is None else preprocessing_of(asked)
    if wanted != told:
        leave = f"Leave {argument(wanted.asked_by[0])} out"
        remedy = f"{leave}, or {again} the Keras file again with it"
        raise mismatch(name, f"{wanted.words}, as asked for", f"{told.text} in its {place}", remedy)


def tells_pixel_scale(path: Path) -> bool:
    """Whether the file holds the preprocessing: a converted model, or a Keras file that ytf-torch
    wrote. Raises InputError where there is no such file, or it cannot be opened."""
    return not is_keras(path) or recorded_in(path) is not None


def is_keras(path: Path) -> bool:
    """Whether a file is of one of Keras's formats. Raises InputError where there is no such file,
    or it cannot be opened."""
    checked_file(path)
    return is_hdf5(path) or is_zip(path)
