"""Runs the GoodNet that a Keras file holds, layer by layer, as the file's own configuration and
weights say: what keras_goodnet.py wanted to write is not asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ytf_torch.convert.keras_config import KerasModel, read_config
from ytf_torch.convert.keras_h5 import MAX_WEIGHT_BYTES, Arrays
from ytf_torch.convert.keras_variables import variable_paths
from ytf_torch.convert.keras_zip import open_keras_archive
from ytf_torch.disk.hdf5 import Group, dataset, open_hdf5, read_array, text_attribute
from ytf_torch.network.provenance import tool_version

# What the weights of each class of layers are called, in Keras's order.
PARTS = {
    "Conv2D": ("kernel", "bias"),
    "Dense": ("kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
Settings = Mapping[str, Any]
# A layer: its settings, its weights by part, and what it reads → what it gives. Images have their
# channels last, as in Keras.
Layer = Callable[[Settings, Mapping[str, Tensor], list[Tensor]], Tensor]


@dataclass(frozen=True)
class StoredGoodNet:
    """What a file holds: the graph, and its weights by layer and part."""

    model: KerasModel
    arrays: Mapping[str, Arrays]


def read_keras_goodnet(path: Path) -> StoredGoodNet:
    """Read a file of write_keras_goodnet, .h5 or .keras. Raises InputError where it is none."""
    if path.suffix == ".keras":
        with open_keras_archive(path) as archive:
            model = read_config(archive.config, str(path))
            classes = [(layer.name, layer.class_name) for layer in model.in_keras_order()]
            stored = variable_paths(classes)
            groups = {name: f"layers/{below}/vars" for name, below in stored.items()}
            return StoredGoodNet(model, _arrays(model, archive.weights, groups, numbered=True))
    with open_hdf5(path) as root:
        model = read_config(text_attribute(root, "model_config") or "", str(path))
        groups = {layer.name: f"model_weights/{layer.name}/{layer.name}" for layer in model.layers}
        return StoredGoodNet(model, _arrays(model, root, groups, numbered=False))


def _arrays(
    model: KerasModel, root: Group, groups: Mapping[str, str], *, numbered: bool
) -> dict[str, Arrays]:
    """The weights of each layer, from the group where they lie, by number or by name."""
    return {
        layer.name: {
            part: read_array(
                dataset(root, f"{groups[layer.name]}/{number if numbered else f'{part}:0'}"),
                MAX_WEIGHT_BYTES,
            )
            for number, part in enumerate(PARTS[layer.class_name])
        }
        for layer in model.layers
        if layer.class_name in PARTS
    }


def run_keras_goodnet(
    stored: StoredGoodNet, pixel_scale: float, batches: list[NDArray[np.floating[Any]]]
) -> tuple[str, NDArray[np.generic]]:
    """Who ran what the file holds, and its outputs (images, classes + 1), end to end.

    batches: (batch, 3, height, width), pixel values 0–255.
    """
    with torch.inference_mode():
        outputs = [_outputs(stored, torch.from_numpy(batch) * pixel_scale) for batch in batches]
    return f"ytf-torch {tool_version()}", torch.cat(outputs).numpy()


def _outputs(stored: StoredGoodNet, pixels: Tensor) -> Tensor:
    given: dict[str, Tensor] = {}
    for layer in stored.model.in_keras_order():
        read = [given[name] for name in layer.inbound] or [pixels.permute(0, 2, 3, 1)]
        arrays = stored.arrays.get(layer.name, {})
        weights = {part: torch.from_numpy(array) for part, array in arrays.items()}
        given[layer.name] = LAYERS[layer.class_name](layer.config, weights, read)
    return given[stored.model.outputs[0]]


def _channels_first(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2)


def _channels_last(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1)


def _activated(settings: Settings, outputs: Tensor) -> Tensor:
    known: dict[str, Callable[[Tensor], Tensor]] = {"linear": torch.clone, "relu": torch.relu}
    return known[settings["activation"]](outputs)


def _convolution(settings: Settings, weights: Mapping[str, Tensor], read: list[Tensor]) -> Tensor:
    kernel = weights["kernel"].permute(3, 2, 0, 1)
    maps = F.conv2d(_channels_first(read[0]), kernel, weights["bias"], settings["strides"])
    return _activated(settings, _channels_last(maps))


def _pool(settings: Settings, _: Mapping[str, Tensor], read: list[Tensor]) -> Tensor:
    maps = F.max_pool2d(_channels_first(read[0]), settings["pool_size"], settings["strides"])
    return _channels_last(maps)


def _dense(settings: Settings, weights: Mapping[str, Tensor], read: list[Tensor]) -> Tensor:
    return _activated(settings, read[0] @ weights["kernel"] + weights["bias"])


def _batch_normalization(
    settings: Settings, weights: Mapping[str, Tensor], read: list[Tensor]
) -> Tensor:
    factors: Tensor = weights["gamma"] / (weights["moving_variance"] + settings["epsilon"]).sqrt()
    return read[0] * factors + (weights["beta"] - weights["moving_mean"] * factors)


LAYERS: dict[str, Layer] = {
    "InputLayer": lambda settings, weights, read: read[0],
    "Conv2D": _convolution,
    "MaxPooling2D": _pool,
    "Flatten": lambda settings, weights, read: read[0].flatten(1),
    "Dense": _dense,
    "Activation": lambda settings, weights, read: _activated(settings, read[0]),
    "ReLU": lambda settings, weights, read: read[0].clamp(0, settings["max_value"]),
    "Softmax": lambda settings, weights, read: read[0].softmax(settings["axis"]),
    "BatchNormalization": _batch_normalization,
    "Reshape": lambda settings, weights, read: read[0].reshape(-1, *settings["target_shape"]),
    "GlobalMaxPooling1D": lambda settings, weights, read: read[0].amax(1),
    "Add": lambda settings, weights, read: read[0] + read[1],
    "Subtract": lambda settings, weights, read: read[0] - read[1],
    "Multiply": lambda settings, weights, read: read[0] * read[1],
    "Concatenate": lambda settings, weights, read: torch.cat(read, settings["axis"]),
}
