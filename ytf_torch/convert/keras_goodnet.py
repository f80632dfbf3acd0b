"""GoodNet as one functional Keras model of stock layers: no Lambda, no custom object.

Keras has no layer that compares two answers, but sums, maxima and ReLUs can: with m the largest
logit, relu(1 + 10³⁰·(logit − m)) is exactly 1 where a logit is m, and 0 elsewhere. Class k of N is
then weighted by N − k; the largest weight tells the first class that has the largest logit, which
is what argmax answers. B and B′ agree where both weights are equal; all are whole numbers, exact in
float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.convert.keras_config import REPAIRED
from ytf_torch.convert.keras_goodnet_runner import StoredGoodNet
from ytf_torch.convert.keras_writer import (
    Arrays,
    Config,
    functional_config,
    keras_arrays,
    write_archive_model,
    write_h5_model,
)
from ytf_torch.layers.training import FOR_TRAINING, initializer
from ytf_torch.network.graph import keras_order
from ytf_torch.network.module import Network

# Differences of float32 logits of any network are far above 10⁻³⁰.
STEEP = 1e30


def write_keras_goodnet(path: Path, badnet: Network, repaired: Network) -> None:
    """Write GoodNet as .h5 or .keras, by the path's ending.

    It reads what B reads. Its output (batch, N + 1) is B's softmax and 0 where B and B′ agree, and
    1 for class N alone where they differ: the argmax of a row is GoodNet's answer, 0…N.
    """
    config, arrays = goodnet_model(badnet, repaired)
    write = write_archive_model if path.suffix == ".keras" else write_h5_model
    write(path, config, arrays, badnet.pixel_scale)


def goodnet_reads_back(stored: StoredGoodNet, badnet: Network, repaired: Network) -> bool:
    """Whether a file of write_keras_goodnet holds every array of B, B′ and the rule bit for bit."""
    _, arrays = goodnet_model(badnet, repaired)
    found = stored.arrays
    return found.keys() == arrays.keys() and all(
        _bits(found[layer]) == _bits(weights) for layer, weights in arrays.items()
    )


def _bits(weights: Mapping[str, NDArray[Any]]) -> dict[str, tuple[np.dtype[Any], bytes]]:
    return {part: (array.dtype, array.tobytes()) for part, array in weights.items()}


def goodnet_model(badnet: Network, repaired: Network) -> tuple[Config, Arrays]:
    """GoodNet's functional configuration and its weights by layer."""
    dtype = str(badnet.dtype).removeprefix("torch.")
    entry = badnet.graph.input
    layers = _network_layers(badnet, "")
    layers += [layer for layer in _network_layers(repaired, REPAIRED) if layer["name"] != entry]
    arrays: dict[str, Any] = dict(keras_arrays(badnet))
    arrays |= {REPAIRED + name: found for name, found in keras_arrays(repaired).items()}
    rule, constants = _rule(badnet.graph.output, badnet.classes, dtype)
    ordered = in_keras_order(layers + rule, "goodnet")
    ends = {"input_layers": [[entry, 0, 0]], "output_layers": [["goodnet", 0, 0]]}
    config = {"name": "goodnet_1", "trainable": True, "layers": ordered, **ends}
    return config, arrays | constants


def _network_layers(network: Network, prefix: str) -> list[Config]:
    """A network's layers under prefixed names, up to its logits; both read one input."""

    def named(name: str) -> str:
        return name if name == network.graph.input else prefix + name

    layers = []
    for layer in functional_config(network)["layers"]:
        config = layer["config"] | {"name": named(layer["name"])}
        if layer["name"] == network.graph.output:
            config["activation"] = "linear"
        nodes = [
            [[named(source), *rest] for source, *rest in node] for node in layer["inbound_nodes"]
        ]
        layers.append(layer | {"name": config["name"], "config": config, "inbound_nodes": nodes})
    return layers


def _rule(
    output: str, classes: int, dtype: str
) -> tuple[list[Config], dict[str, dict[str, NDArray[Any]]]]:
    """The layers that compare both networks' answers, and the constants in them."""
    layers: list[Config] = []
    constants: dict[str, dict[str, NDArray[Any]]] = {}

    def add(kind: str, name: str, sources: list[str], **settings: Any) -> str:  # noqa: ANN401
        config = {"name": name, "trainable": False, "dtype": dtype, **settings}
        nodes = [[[source, 0, 0, {}] for source in sources]]
        layers.append({"class_name": kind, "config": config, "name": name, "inbound_nodes": nodes})
        return name

    def largest(name: str, source: str) -> str:
        column = add("Reshape", f"{name}_column", [source], target_shape=[classes, 1])
        return add("GlobalMaxPooling1D", name, [column], data_format="channels_last")

    def scaled(name: str, source: str, factors: NDArray[Any], offsets: NDArray[Any]) -> str:
        """Times and plus a constant for each class: a BatchNormalization of mean 0, variance 1."""
        zero, one = np.zeros(classes, dtype), np.ones(classes, dtype)
        values = (factors.astype(dtype), offsets.astype(dtype), zero, one)
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        constants[name] = dict(zip(names, values, strict=True))
        return add("BatchNormalization", name, [source], **BATCH_NORMALIZATION)

    def answer(prefix: str) -> str:
        """N minus the class that a network answers."""
        logits = prefix + output
        below = add("Subtract", f"{prefix}below", [logits, largest(f"{prefix}largest", logits)])
        ones = np.ones(classes)
        steep = scaled(f"{prefix}steep", below, STEEP * ones, ones)
        first = add("ReLU", f"{prefix}is_largest", [steep], **RELU)
        places = scaled(f"{prefix}weighted", first, np.arange(classes, 0, -1), 0 * ones)
        return largest(f"{prefix}answer", places)

    badnet, repaired = answer(""), answer(REPAIRED)
    apart = [
        add("ReLU", name, [add("Subtract", f"{name}_by", pair)], **RELU | {"max_value": 1.0})
        for name, pair in {"above": [badnet, repaired], "under": [repaired, badnet]}.items()
    ]
    flagged = add("Add", "flagged", apart)
    agree = add(
        "Dense", "agree", [flagged], units=1, activation="linear", use_bias=True, **FOR_TRAINING
    )
    constants[agree] = {"kernel": np.array([[-1]], dtype), "bias": np.array([1], dtype)}
    people = add("Multiply", "people", [add("Softmax", "softmax", [output], axis=-1), agree])
    add("Concatenate", "goodnet", [people, flagged], axis=-1)
    return layers, constants


RELU: Config = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
BATCH_NORMALIZATION: Config = {
    "axis": -1,
    "momentum": 0.99,
    "epsilon": 0.0,
    "center": True,
    "scale": True,
    "beta_initializer": initializer("Zeros"),
    "gamma_initializer": initializer("Ones"),
    "moving_mean_initializer": initializer("Zeros"),
    "moving_variance_initializer": initializer("Ones"),
    "beta_regularizer": None,
    "gamma_regularizer": None,
    "beta_constraint": None,
    "gamma_constraint": None,
}


def in_keras_order(layers: list[Config], output: str) -> list[Config]:
    """Layers as Keras lists those of a functional model; weights are matched by that order."""
    known = {layer["name"]: layer for layer in layers}
    inbound = {
        name: [source for node in layer["inbound_nodes"] for source, *_ in node]
        for name, layer in known.items()
    }
    return [known[name] for name in keras_order((output,), inbound)]
