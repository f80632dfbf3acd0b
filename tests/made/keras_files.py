"""Keras files as the various Keras versions write them, made with h5py alone.

Written against the format itself and not with the project's own writer, so that a mistake shared
by reader and writer is found.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import h5py
import numpy as np

from ytf_torch.network.deepid import DeepIDSizes

KERNELS = ((4, 4), (3, 3), (3, 3), (2, 2))
SMALL = DeepIDSizes((55, 47), (3, 4, 6, 5), KERNELS, features=9, classes=7)
WIDE = DeepIDSizes((47, 62), (3, 4, 6, 5), KERNELS, features=9, classes=1283)
LAB = DeepIDSizes((55, 47), (20, 40, 60, 80), KERNELS, features=160, classes=40)
WEIGHTED = ("conv_1", "conv_2", "conv_3", "conv_4", "fc_1", "fc_2", "output")

Weights = dict[str, tuple[np.ndarray, np.ndarray]]
Config = dict[str, Any]


def map_sizes(sizes: DeepIDSizes) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width out of pool_3 and conv_4, computed here on purpose a second time."""
    height, width = sizes.input_size
    for number in range(3):
        kernel = sizes.kernels[number]
        height, width = (height - kernel[0] + 1) // 2, (width - kernel[1] + 1) // 2
    last = sizes.kernels[3]
    return (height, width), (height - last[0] + 1, width - last[1] + 1)


def random_weights(sizes: DeepIDSizes, seed: int = 2, dtype: Any = np.float32) -> Weights:
    """Kernels in Keras's layout, scaled so that activations neither vanish nor explode."""
    rng = np.random.default_rng(seed)
    pool_3, conv_4 = map_sizes(sizes)
    shapes: dict[str, tuple[int, ...]] = {}
    channels_in = 3
    for name, channels, kernel in zip(WEIGHTED[:4], sizes.channels, sizes.kernels, strict=True):
        shapes[name] = (*kernel, channels_in, channels)
        channels_in = channels
    shapes["fc_1"] = (pool_3[0] * pool_3[1] * sizes.channels[2], sizes.features)
    shapes["fc_2"] = (conv_4[0] * conv_4[1] * sizes.channels[3], sizes.features)
    shapes["output"] = (sizes.features, sizes.classes)
    weights = {}
    for name in WEIGHTED:
        fan_in = int(np.prod(shapes[name][:-1]))
        kernel_values = rng.normal(0, (2 / fan_in) ** 0.5, shapes[name])
        weights[name] = (
            kernel_values.astype(dtype),
            rng.normal(0, 3, shapes[name][-1]).astype(dtype),
        )
    return weights


def random_images(sizes: DeepIDSizes, images: int, seed: int = 1) -> np.ndarray:
    """(images, 3, H, W), uint8: coloured blocks under noise, so that images differ much."""
    rng = np.random.default_rng(seed)
    height, width = sizes.input_size
    blocks = rng.integers(0, 256, (images, 3, 4, 4)).repeat(-(-height // 4), 2)
    blocks = blocks.repeat(-(-width // 4), 3)[:, :, :height, :width]
    noise = rng.integers(-20, 21, blocks.shape)
    return (blocks + noise).clip(0, 255).astype(np.uint8)


def model_config(sizes: DeepIDSizes, class_name: str = "Functional") -> Config:
    """model_config as tf.keras 2.x writes it for DeepID."""

    def layer(kind: str, name: str, inputs: list[str], **config: Any) -> Config:
        nodes = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
        return {
            "class_name": kind,
            "config": {"name": name, **config},
            "name": name,
            "inbound_nodes": nodes,
        }

    def convolution(number: int, source: str) -> Config:
        return layer(
            "Conv2D",
            f"conv_{number}",
            [source],
            filters=sizes.channels[number - 1],
            kernel_size=list(sizes.kernels[number - 1]),
            strides=[1, 1],
            padding="valid",
            data_format="channels_last",
            dilation_rate=[1, 1],
            activation="relu",
            use_bias=True,
        )

    def dense(name: str, source: str, units: int, activation: str) -> Config:
        return layer("Dense", name, [source], units=units, activation=activation, use_bias=True)

    shape = [None, *sizes.input_size, 3]
    layers = [layer("InputLayer", "input", [], batch_input_shape=shape, dtype="float32")]
    below = "input"
    for number in (1, 2, 3):
        layers.append(convolution(number, below))
        below = f"pool_{number}"
        layers.append(
            layer(
                "MaxPooling2D",
                below,
                [f"conv_{number}"],
                pool_size=[2, 2],
                padding="valid",
                strides=[2, 2],
                data_format="channels_last",
            )
        )
    layers += [
        convolution(4, "pool_3"),
        layer("Flatten", "flatten_1", ["pool_3"], data_format="channels_last"),
        layer("Flatten", "flatten_2", ["conv_4"], data_format="channels_last"),
        dense("fc_1", "flatten_1", sizes.features, "linear"),
        dense("fc_2", "flatten_2", sizes.features, "linear"),
        layer("Add", "add_1", ["fc_1", "fc_2"]),
        layer("Activation", "activation_1", ["add_1"], activation="relu"),
        dense("output", "activation_1", sizes.classes, "softmax"),
    ]
    return {
        "class_name": class_name,
        "config": {
            "name": "model_1",
            "layers": layers,
            "input_layers": [["input", 0, 0]],
            "output_layers": [["output", 0, 0]],
        },
    }


def edit_layer(config: Config, name: str, **changes: Any) -> None:
    """Change settings of one layer of a model_config."""
    for layer in config["config"]["layers"]:
        if layer["name"] == name:
            layer["config"].update(changes)


def computed_in(config: Config, weights: Weights) -> None:
    """Layers state the precision of wide weights; told none, Keras takes float32."""
    if any(array.dtype == np.float64 for arrays in weights.values() for array in arrays):
        for layer in config["config"]["layers"]:
            layer["config"]["dtype"] = "float64"


def write_keras_file(
    path: Path,
    sizes: DeepIDSizes,
    weights: Weights,
    *,
    full_model: bool = True,
    as_bytes: bool = False,
    class_name: str = "Functional",
    keras_version: str = "2.14.0",
    optimizer: bool = False,
    split_names: bool = False,
    weight_path: str = "{layer}/{part}:0",
    edit: Callable[[Config], None] | None = None,
) -> Path:
    """Write a Keras HDF5 file; `edit` may change the model_config before it is written."""

    def text(value: str) -> Any:
        return np.bytes_(value.encode()) if as_bytes else value

    def names(values: list[str]) -> Any:
        if not values:
            return np.zeros(0)
        return np.array([text(value) for value in values], dtype=None if as_bytes else object)

    config = model_config(sizes, class_name)
    computed_in(config, weights)
    in_order = [layer["name"] for layer in config["config"]["layers"]]
    if edit:
        edit(config)
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights") if full_model else file
        layers = [layer["name"] for layer in config["config"]["layers"]]
        # Keras lists them in the order in which it counts them, however they stand.
        layers.sort(key=lambda name: in_order.index(name) if name in in_order else len(in_order))
        if split_names:
            for place, start in enumerate(range(0, len(layers), 4)):
                group.attrs[f"layer_names{place}"] = names(layers[start : start + 4])
        else:
            group.attrs["layer_names"] = names(layers)
        for attributes in {group, file}:
            attributes.attrs["keras_version"] = text(keras_version)
            attributes.attrs["backend"] = text("tensorflow")
        for layer in layers:
            holder = group.create_group(layer)
            found = []
            for part, array in zip(("kernel", "bias"), weights.get(layer, ()), strict=False):
                found.append(weight_path.format(layer=layer, part=part))
                holder[found[-1]] = array
            holder.attrs["weight_names"] = names(found)
        if full_model:
            file.attrs["model_config"] = text(json.dumps(config))
        if optimizer:
            file.create_group("optimizer_weights")["Adam/m/conv_1/kernel:0"] = np.ones((4, 4))
    return path


SNAKE_CASE = {
    "InputLayer": "input_layer",
    "Conv2D": "conv2d",
    "MaxPooling2D": "max_pooling2d",
    "Flatten": "flatten",
    "Dense": "dense",
    "Add": "add",
    "Activation": "activation",
}


def write_keras_variables(
    path: Any, weights: Weights, layers: list[Config], *, named: bool = True
) -> None:
    """A .weights.h5 as Keras 3 writes it: layers by class and ordinal. layers: of a model_config.

    named: whether each group tells its layer's name, as from Keras 3.6 on.
    """
    seen: dict[str, int] = {}
    with h5py.File(path, "w") as file:
        file.create_group("vars")
        for layer in layers:
            kind = SNAKE_CASE[layer["class_name"]]
            ordinal = f"_{seen[kind]}" if kind in seen else ""
            seen[kind] = seen.get(kind, 0) + 1
            group = file.create_group(f"layers/{kind}{ordinal}/vars")
            if named:
                group.attrs["name"] = layer["name"]
            for number, array in enumerate(weights.get(layer["name"], ())):
                group[str(number)] = array


def write_keras_archive(
    path: Path,
    sizes: DeepIDSizes,
    weights: Weights,
    *,
    named: bool = True,
    edit: Callable[[Config], Any] | None = None,
) -> Path:
    """A .keras archive; `edit` may change the configuration before it is written."""
    config, content = model_config(sizes), BytesIO()
    write_keras_variables(content, weights, config["config"]["layers"], named=named)
    if edit:
        edit(config)
    with ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.6.0"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", content.getvalue())
    return path


def write_faces(path: Path, data: np.ndarray, labels: Any) -> Path:
    """A lab-format face set."""
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = data, np.asarray(labels)
    return path
