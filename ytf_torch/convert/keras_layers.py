"""How Keras calls and configures the layers that a network's graph is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ytf_torch.network.graph import Graph, Kind

CLASS_NAMES: Mapping[Kind, str] = {
    "input": "InputLayer",
    "convolution": "Conv2D",
    "pool": "MaxPooling2D",
    "flatten": "Flatten",
    "dense": "Dense",
    "add": "Add",
    "relu": "Activation",
}
CHANNELS_LAST = {"data_format": "channels_last"}
WINDOW = {"padding": "valid", **CHANNELS_LAST}
STRIDES = {"strides": [1, 1], "dilation_rate": [1, 1], "groups": 1}
FIXED: Mapping[Kind, Mapping[str, Any]] = {
    "input": {},
    "convolution": {**WINDOW, **STRIDES, "activation": "relu", "use_bias": True},
    "pool": {**WINDOW, "pool_size": [2, 2], "strides": [2, 2]},
    "flatten": CHANNELS_LAST,
    "dense": {"activation": "linear", "use_bias": True},
    "add": {},
    "relu": {"activation": "relu"},
}


# What Keras takes for a setting that a configuration leaves out, or gives as null where it has that
# default itself; where none stands here, Keras builds no layer without it.
LEFT_OUT: Mapping[str, Mapping[str, Any]] = {
    "Conv2D": {**WINDOW, **STRIDES, "activation": "linear", "use_bias": True},
    "MaxPooling2D": {**WINDOW, "pool_size": [2, 2]},
    "Flatten": CHANNELS_LAST,
    "Dense": {"activation": "linear", "use_bias": True},
}
# Settings that change nothing of what a layer answers, beside those that only training needs.
WITHOUT_EFFECT = frozenset(
    {"name", "trainable", "dtype", "batch_input_shape", "batch_shape", "sparse", "ragged"}
    | {"optional", "filters", "kernel_size", "units", "activity_regularizer"}
    | {
        f"{part}_{what}"
        for part in ("kernel", "bias")
        for what in ("initializer", "regularizer", "constraint")
    }
)


def setting(class_name: str, config: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401
    """A setting as Keras takes it, with its own default where it is left out; None where there
    is no default."""
    found = config.get(key)
    if key == "strides" and class_name == "MaxPooling2D" and found is None:
        return setting(class_name, config, "pool_size")
    nullable = key in ("activation", "data_format")
    left_out = key not in config or (found is None and nullable)
    return LEFT_OUT.get(class_name, {}).get(key) if left_out else found


def fixed_settings(graph: Graph, name: str) -> dict[str, Any]:
    """The settings that do not depend on a layer's sizes; Keras's last layer has the softmax
    inside."""
    softmax = {"activation": "softmax"} if name == graph.output else {}
    return {**FIXED[graph[name].kind], **softmax}
