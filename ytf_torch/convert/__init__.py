"""Convert Keras files to PyTorch models, export networks, and verify that outputs agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ytf_torch.network.checkpoint import Checkpoint

__all__ = ["read_keras_model"]


def read_keras_model(
    path: str | Path, pixel_scale: float, architecture: str | Path | None = None
) -> Checkpoint:
    """Read a Keras file (.h5, .weights.h5 or .keras) as a PyTorch model.

    pixel_scale: factor on pixel values 0–255: 1.0 for the lab's bd_net, 1/255 for the CSAW-2020
    networks. architecture: for a weights-only file, the JSON of Keras's model.to_json() or any
    model file of the same network. Raises InputError where the file contains no supported image
    classifier.

    >>> read_keras_model("bd_net.h5", pixel_scale=1.0).model.classes
    7
    """
    from ytf_torch.convert.keras.keras_file import read_keras_file
    from ytf_torch.convert.keras.keras_graph import keras_checkpoint

    architecture_path = None if architecture is None else Path(architecture)
    file = read_keras_file(Path(path), architecture_path)
    return keras_checkpoint(file, file.read_with(pixel_scale))
