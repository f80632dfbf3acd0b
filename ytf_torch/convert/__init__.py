"""From Keras files to PyTorch models, with proof that both answer alike."""

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

    pixel_scale: what pixel values 0–255 are multiplied by: 1.0 for the lab's bd_net, 1/255 for
    the CSAW-2020 networks. architecture: of the network whose weights alone the file holds: the
    JSON of Keras's model.to_json(), or any model file of the same network. Raises InputError where
    the file holds no classifier of images that is understood.

    >>> read_keras_model("bd_net.h5", pixel_scale=1.0).model.classes
    7
    """
    from ytf_torch.convert.keras.keras_file import read_keras_file
    from ytf_torch.convert.keras.keras_graph import keras_checkpoint

    told = None if architecture is None else Path(architecture)
    file = read_keras_file(Path(path), told)
    return keras_checkpoint(file, file.read_with(pixel_scale))
