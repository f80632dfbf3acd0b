"""Any model file: a converted model, or a Keras file that is converted on the fly."""

from __future__ import annotations

from pathlib import Path

from ytf_torch.convert.keras_file import read_keras_file
from ytf_torch.convert.keras_graph import deepid_checkpoint
from ytf_torch.disk.reading import checked_file, is_hdf5, is_zip
from ytf_torch.errors import argument, mismatch
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint
from ytf_torch.network.pixel_scale import ASSUMED, pixel_scale_text


def read_model(path: Path, pixel_scale: float | None = None) -> Checkpoint:
    """Read a safetensors file of ytf-convert, or a Keras file.

    pixel_scale: needed for a Keras file whose network does not take raw pixels; for a converted
    model it must be the one in its metadata.
    Raises InputError where the file is neither, or the scales contradict each other.

    >>> read_model(Path("bd_net.h5")).model(pixels).equal(network(pixels))
    True
    """
    if not tells_pixel_scale(path):
        scale = ASSUMED if pixel_scale is None else pixel_scale
        return deepid_checkpoint(read_keras_file(path), scale)
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
    """Whether the file is a converted model, whose metadata holds the pixel scale; no Keras file
    does. Raises InputError where there is no such file."""
    checked_file(path)
    return not (is_hdf5(path) or is_zip(path))
