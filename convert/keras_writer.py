"""DeepID models as Keras files: the full-model HDF5 that tf.keras 2.14 writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py

from convert.layout import convolution_to_keras, dense_to_keras, flattened_dense_to_keras
from ytf_torch.disk.writing import whole_file
from ytf_torch.network.checkpoint import tool_version
from ytf_torch.network.deepid import CONVOLUTIONS, DENSE, POOLS, DeepID

LAYOUT_OF = "2.14.0"


def _initializer(name: str, **settings: Any) -> dict[str, Any]:  # noqa: ANN401
    kind = {"module": "keras.initializers", "class_name": name}
    return kind | {"config": settings, "registered_name": None}


WEIGHTED = {
    "use_bias": True,
    "kernel_initializer": _initializer("GlorotUniform", seed=None),
    "bias_initializer": _initializer("Zeros"),
    "kernel_regularizer": None,
    "bias_regularizer": None,
    "activity_regularizer": None,
    "kernel_constraint": None,
    "bias_constraint": None,
}


def write_keras_file(model: DeepID, path: Path) -> None:
    """Write a model as Keras's model.save("….h5") lays it out; real Keras loads it.

    `keras_version` names the version whose layout it follows, `writer` who wrote it. Reading it
    with ytf-convert gives the same weights, bit for bit. The pixel scale is not in it: no Keras
    file has a place for it.
    """
    config = _model_config(model)
    layers = [layer["config"]["name"] for layer in config["config"]["layers"]]
    with whole_file(path) as temporary, h5py.File(temporary, "w") as file:
        group = file.create_group("model_weights")
        for node in (file, group):
            node.attrs["keras_version"] = LAYOUT_OF
            node.attrs["backend"] = "tensorflow"
        file.attrs["writer"] = f"ytf-torch {tool_version()}"
        file.attrs["model_config"] = json.dumps(config)
        group.attrs["layer_names"] = layers
        for name in layers:
            holder = group.create_group(name)
            arrays = _arrays(model, name) if name in (*CONVOLUTIONS, *DENSE) else {}
            holder.attrs["weight_names"] = [f"{name}/{part}:0" for part in arrays]
            for part, array in arrays.items():
                holder[f"{name}/{part}:0"] = array
        group.create_group("top_level_model_weights").attrs["weight_names"] = []


def _arrays(model: DeepID, name: str) -> dict[str, Any]:
    layer = model.get_submodule(name)
    weight, bias = (layer.get_parameter(part).detach().cpu().numpy() for part in ("weight", "bias"))
    maps = model.sizes.map_sizes
    if name in CONVOLUTIONS:
        kernel = convolution_to_keras(weight)
    elif name == "output":
        kernel = dense_to_keras(weight)
    else:
        kernel = flattened_dense_to_keras(weight, maps["pool_3" if name == "fc_1" else "conv_4"])
    return {"kernel": kernel, "bias": bias}


def _model_config(model: DeepID) -> dict[str, Any]:
    sizes, plain = model.sizes, {"data_format": "channels_last"}
    dtype = str(model.dtype).removeprefix("torch.")

    def layer(kind: str, name: str, inputs: list[str], **settings: Any) -> dict[str, Any]:  # noqa: ANN401
        return {
            "class_name": kind,
            "config": {"name": name, "trainable": True, "dtype": dtype, **settings},
            "name": name,
            "inbound_nodes": [[[source, 0, 0, {}] for source in inputs]],
        }

    def convolution(name: str, source: str) -> dict[str, Any]:
        number = CONVOLUTIONS.index(name)
        settings = {"filters": sizes.channels[number], "kernel_size": list(sizes.kernels[number])}
        fixed = {"strides": [1, 1], "padding": "valid", "dilation_rate": [1, 1], "groups": 1}
        fixed |= {"activation": "relu"} | WEIGHTED
        return layer("Conv2D", name, [source], **settings, **fixed, **plain)

    def dense(name: str, source: str, units: int, activation: str) -> dict[str, Any]:
        return layer("Dense", name, [source], units=units, activation=activation, **WEIGHTED)

    entry: dict[str, Any] = {"batch_input_shape": [None, *sizes.input_size, 3], "dtype": dtype}
    entry |= {"name": "input", "sparse": False, "ragged": False}
    layers = [
        {"class_name": "InputLayer", "config": entry, "name": "input", "inbound_nodes": []},
    ]
    below = "input"
    for name, pool in POOLS.items():
        layers.append(convolution(name, below))
        window = {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"}
        layers.append(layer("MaxPooling2D", pool, [name], **window, **plain))
        below = pool
    layers += [
        convolution("conv_4", "pool_3"),
        layer("Flatten", "flatten_1", ["pool_3"], **plain),
        layer("Flatten", "flatten_2", ["conv_4"], **plain),
        dense("fc_1", "flatten_1", sizes.features, "linear"),
        dense("fc_2", "flatten_2", sizes.features, "linear"),
        layer("Add", "add_1", ["fc_1", "fc_2"]),
        layer("Activation", "activation_1", ["add_1"], activation="relu"),
        dense("output", "activation_1", sizes.classes, "softmax"),
    ]
    ends = {"input_layers": [["input", 0, 0]], "output_layers": [["output", 0, 0]]}
    config = {"name": "model_1", "trainable": True, "layers": layers, **ends}
    return {"class_name": "Functional", "config": config}
