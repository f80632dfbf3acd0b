"""Any model file: a converted model, or a Keras file that is converted on the fly."""

from __future__ import annotations

from pathlib import Path

from ytf_torch.convert.keras.keras_architecture import Architecture
from ytf_torch.convert.keras.keras_file import own_architecture, read_keras_file, recorded_scale
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.disk.reading import checked_file, is_hdf5, is_zip
from ytf_torch.errors import argument, mismatch
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint
from ytf_torch.network.pixel_scale import pixel_scale_text
from ytf_torch.network.usable import check_finite


def read_model(
    path: Path,
    pixel_scale: float | None = None,
    architecture: Path | Architecture | None = None,
) -> Checkpoint:
    """Read a safetensors file of ytf-convert, or a Keras file.

    pixel_scale: needed for a Keras file whose network does not take raw pixels, unless ytf-torch
    wrote it; for a converted model it must be the one in its metadata. architecture: of the network
    whose weights alone a Keras file holds, see read_architecture.
    Raises InputError where the file is neither, the scales contradict each other, or the network's
    weights overflow on whatever it is shown.

    >>> read_model(Path("bd_net.h5")).model(pixels).equal(network(pixels))
    True
    """
    checkpoint = _read(path, pixel_scale, architecture)
    check_finite(checkpoint.model, path)
    return checkpoint


def _read(
    path: Path, pixel_scale: float | None, architecture: Path | Architecture | None
) -> Checkpoint:
    if is_keras(path):
        file = read_keras_file(path, architecture)
        return keras_checkpoint(file, file.scale_to_read_with(pixel_scale))
    if architecture is not None:
        raise own_architecture(path)
    checkpoint = load_checkpoint(path)
    if pixel_scale is not None and pixel_scale != checkpoint.provenance.pixel_scale:
        raise mismatch(
            path,
            f"pixel scale {pixel_scale_text(pixel_scale)}, as asked for",
            f"{pixel_scale_text(checkpoint.provenance.pixel_scale)} in its metadata",
            f"Leave {argument('pixel_scale')} out, or convert the Keras file again with it",
        )
    return checkpoint


def tells_pixel_scale(path: Path) -> bool:
    """Whether the file holds the pixel scale: a converted model, or a Keras file that ytf-torch
    wrote. Raises InputError where there is no such file, or it cannot be opened."""
    return not is_keras(path) or recorded_scale(path) is not None


def is_keras(path: Path) -> bool:
    """Whether a file is of one of Keras's formats. Raises InputError where there is no such file,
    or it cannot be opened."""
    checked_file(path)
    return is_hdf5(path) or is_zip(path)
