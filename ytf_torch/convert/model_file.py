"""Read any model file: a converted model, or a Keras file, which is converted in memory."""

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

    preprocessing: a preprocessing or pixel scale. Required for Keras files not written by ytf-torch
    whose network does not expect raw pixels; must agree with the file where it is recorded there.
    architecture: for a weights-only Keras file, see read_architecture.
    Raises InputError where the file is neither, it records another preprocessing, or the network
    gives no finite logits.

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
    requested: Preprocessing | float | None,
    checkpoint: Checkpoint,
    name: object,
    place: str,
    again: str,
) -> None:
    """Raises InputError where a network has another preprocessing than requested.

    name: the network, for the error. place: where its preprocessing is recorded. again: verb of the
    remedy, such as "convert".
    """
    recorded = checkpoint.provenance.preprocessing
    wanted = recorded if requested is None else preprocessing_of(requested)
    if wanted != recorded:
        leave = f"Leave {argument(wanted.asked_by[0])} out"
        remedy = f"{leave}, or {again} the Keras file again with it"
        found = f"{recorded.text} in its {place}"
        raise mismatch(name, f"{wanted.words}, as asked for", found, remedy)


def tells_pixel_scale(path: Path) -> bool:
    """Whether the file records its preprocessing: a converted model, or a Keras file written by
    ytf-torch. Raises InputError where the file does not exist or cannot be opened."""
    return not is_keras(path) or recorded_in(path) is not None


def is_keras(path: Path) -> bool:
    """Whether a file has one of Keras's formats. Raises InputError where it does not exist or
    cannot be opened."""
    checked_file(path)
    return is_hdf5(path) or is_zip(path)
