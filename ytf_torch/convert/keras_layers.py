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


def fixed_settings(graph: Graph, name: str) -> dict[str, Any]:
    """The settings that do not depend on a layer's sizes; Keras's last layer has the softmax
    inside."""
    softmax = {"activation": "softmax"} if name == graph.output else {}
    return {**FIXED[graph[name].kind], **softmax}
