"""GoodNet as one functional Keras model of stock layers: no Lambda, no custom object.

Keras has no layer that compares two argmaxes, so they are built from sums, maxima and ReLUs:
`first = relu(1 + 10³⁰ · (logits − max(logits)))` is exactly 1 at each largest logit and 0
elsewhere. With class k of N weighted by N − k, `max(first · (N − k)) = N − argmax(logits)`, where
argmax is the first largest logit. B and B′ agree if both values are equal. All are integers, exact
in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ytf_torch.convert.keras.keras_config import GOODNET, REPAIRED
from ytf_torch.convert.keras.keras_file import KerasFile, read_keras_file
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.convert.keras.keras_writer import (
    Arrays,
    Config,
    functional_config,
    keras_arrays,
    write_archive_model,
    write_h5_model,
)
from ytf_torch.errors import InputError
from ytf_torch.layers.batch_normalization import BatchNormalization
from ytf_torch.layers.training import FOR_TRAINING
from ytf_torch.network.graph import keras_order
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import Preprocessing
from ytf_torch.network.provenance import tool_version

# Differences of float32 logits of any network are far above 10⁻³⁰.
STEEP = 1e30


def write_keras_goodnet(path: Path, badnet: Network, repaired: Network) -> None:
    """Write GoodNet as .h5 or .keras, by the path's extension.

    It has the input of B. Its output is (batch, N + 1): where B and B′ agree, B's softmax and 0 for
    class N; where they differ, 0 and 1 for class N. The argmax of a row is GoodNet's class, 0…N.
    """
    config, arrays = goodnet_model(badnet, repaired)
    write = write_archive_model if path.suffix == ".keras" else write_h5_model
    write(path, config, arrays, badnet.pixel_preprocessing)


def read_keras_goodnet(path: Path) -> KerasFile:
    """Read a file of write_keras_goodnet, .h5 or .keras. Raises InputError for any other file."""
    return read_keras_file(path, goodnet=True)


def run_keras_goodnet(
    stored: KerasFile,
    preprocessing: Preprocessing | float,
    batches: list[NDArray[np.floating[Any]]],
) -> tuple[str, NDArray[np.generic]]:
    """Run a stored GoodNet from the file's content alone, independently of what was to be written.

    batches: (batch, channels, height, width), pixel values 0–255. Returns the name of the runner,
    and the outputs (images, classes + 1), concatenated over all batches.
    """
    network = keras_checkpoint(stored, preprocessing).model
    with torch.inference_mode():
        outputs = [network(torch.from_numpy(batch)) for batch in batches]
    return f"ytf-torch {tool_version()}", torch.cat(outputs).numpy()


def goodnet_reads_back(stored: KerasFile, badnet: Network, repaired: Network) -> bool:
    """Whether a file of write_keras_goodnet contains all arrays of B, B′ and the rule bit for
    bit."""
    _, arrays = goodnet_model(badnet, repaired)
    stored_arrays = stored.weights
    return stored_arrays.keys() == arrays.keys() and all(
        _bits(stored_arrays[layer]) == _bits(weights) for layer, weights in arrays.items()
    )


def _bits(weights: Mapping[str, NDArray[Any]]) -> dict[str, tuple[np.dtype[Any], bytes]]:
    return {part: (array.dtype, array.tobytes()) for part, array in weights.items()}


def goodnet_model(badnet: Network, repaired: Network) -> tuple[Config, Arrays]:
    """GoodNet's functional configuration and its weights by layer.

    Raises InputError where layer names of the networks collide with names in GoodNet.
    """
    dtype = str(badnet.dtype).removeprefix("torch.")
    entry = badnet.graph.input
    layers = _network_layers(badnet, "", entry)
    repaired_layers = _network_layers(repaired, REPAIRED, entry)
    layers += [layer for layer in repaired_layers if layer["name"] != entry]
    arrays: dict[str, Any] = dict(keras_arrays(badnet))
    arrays |= {REPAIRED + name: weights for name, weights in keras_arrays(repaired).items()}
    taken = {layer["name"] for layer in layers}
    if len(taken) < len(layers) or GOODNET in taken:
        problem = f"layers of the names {GOODNET} or {REPAIRED}…, which GoodNet's own have"
        raise InputError("GoodNet as a Keras file", problem, "Write it as .onnx or .pt2")
    rule, constants = _Rule(badnet, dtype, taken).of(badnet.graph.output, repaired.graph.output)
    ordered = in_keras_order(layers + rule, GOODNET)
    ends = {"input_layers": [[entry, 0, 0]], "output_layers": [[GOODNET, 0, 0]]}
    config = {"name": "goodnet_1", "trainable": True, "layers": ordered, **ends}
    return config, arrays | constants


def _network_layers(network: Network, prefix: str, entry: str) -> list[Config]:
    """A network's layers under prefixed names, up to its logits. entry: the common input layer."""

    def named(name: str) -> str:
        return entry if name == network.graph.input else prefix + name

    layers = []
    for layer in functional_config(network)["layers"]:
        config = layer["config"] | {"name": named(layer["name"])}
        if layer["name"] == network.graph.output:
            kind = network.computed_kind(layer["name"])
            layer |= {"class_name": kind.keras_class}
            common = ("name", "trainable", "dtype")
            config = {key: config[key] for key in common} | kind.keras_settings()
        nodes = [
            [[named(source), *rest] for source, *rest in node] for node in layer["inbound_nodes"]
        ]
        layers.append(layer | {"name": config["name"], "config": config, "inbound_nodes": nodes})
    return layers


class _Rule:
    """Builds the layers that compare the argmaxes of both networks, and their constants.

    taken: layer names in use.
    """

    def __init__(self, network: Network, dtype: str, taken: set[str]) -> None:
        self.classes, self.dtype, self.taken = network.classes, dtype, {*taken, GOODNET}
        (self.units,) = network.graph.shapes[network.graph.output]
        self.layers: list[Config] = []
        self.constants: dict[str, dict[str, NDArray[Any]]] = {}

    def of(self, badnet: str, repaired: str) -> tuple[list[Config], dict[str, Any]]:
        """All layers and constants of the rule. badnet, repaired: names of the output layers."""
        logits = self.logits("", badnet)
        answers = [
            self.answer("", logits),
            self.answer(REPAIRED, self.logits(REPAIRED, REPAIRED + repaired)),
        ]
        # relu(a − b) and relu(b − a), clipped to 1: their sum is 1 where integers a and b differ.
        differences = [
            self.add("ReLU", name, [self.add("Subtract", f"{name}_by", pair)], **RELU_1)
            for name, pair in {"above": answers, "under": answers[::-1]}.items()
        ]
        flagged = self.add("Add", "flagged", differences)
        agree = self.dense("agree", flagged, np.array([[-1]]), np.array([1]))
        people = [self.add("Softmax", "softmax", [logits], axis=-1), agree]
        self.taken.remove(GOODNET)
        self.add("Concatenate", GOODNET, [self.add("Multiply", "people", people), flagged], axis=-1)
        return self.layers, self.constants

    def add(self, kind: str, name: str, sources: list[str], **settings: Any) -> str:  # noqa: ANN401
        """Add a layer. Returns its name, made unique."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        config = {"name": name, "trainable": False, "dtype": self.dtype, **settings}
        nodes = [[[source, 0, 0, {}] for source in sources]]
        layer = {"class_name": kind, "config": config, "name": name, "inbound_nodes": nodes}
        self.layers.append(layer)
        return name

    def dense(self, name: str, source: str, kernel: NDArray[Any], bias: NDArray[Any]) -> str:
        """Add a dense layer with constant weights. Returns its name."""
        settings = {"units": len(bias), "activation": "linear", "use_bias": True, **FOR_TRAINING}
        name = self.add("Dense", name, [source], **settings)
        arrays = {"kernel": kernel.astype(self.dtype), "bias": bias.astype(self.dtype)}
        self.constants[name] = arrays
        return name

    def logits(self, prefix: str, output: str) -> str:
        """The layer of a network's logits; a single logit z becomes (0, z)."""
        if self.units == self.classes:
            return output
        return self.dense(f"{prefix}two_classes", output, np.array([[0, 1]]), np.zeros(2))

    def answer(self, prefix: str, logits: str) -> str:
        """Add layers that compute N − argmax(logits). Returns the name of the last."""
        largest = self.largest(f"{prefix}largest", logits)
        below = self.add("Subtract", f"{prefix}below", [logits, largest])
        ones = np.ones(self.classes)
        steep = self.scaled(f"{prefix}steep", below, STEEP * ones, ones)
        first = self.add("ReLU", f"{prefix}is_largest", [steep], **RELU)
        ranks = np.arange(self.classes, 0, -1)
        return self.largest(
            f"{prefix}answer", self.scaled(f"{prefix}weighted", first, ranks, 0 * ones)
        )

    def largest(self, name: str, source: str) -> str:
        """Add layers that compute the maximum of each row. Returns the name of the last."""
        shape = [self.classes, 1]
        column = self.add("Reshape", f"{name}_column", [source], target_shape=shape)
        return self.add("GlobalMaxPooling1D", name, [column], data_format="channels_last")

    def scaled(self, name: str, source: str, factors: NDArray[Any], offsets: NDArray[Any]) -> str:
        """Add `factors · x + offsets`, per class: a BatchNormalization of mean 0, variance 1."""
        name = self.add("BatchNormalization", name, [source], **BATCH_NORMALIZATION)
        values = (factors, offsets, np.zeros(self.classes), np.ones(self.classes))
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        arrays = zip(names, (array.astype(self.dtype) for array in values), strict=True)
        self.constants[name] = dict(arrays)
        return name


RELU: Config = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
RELU_1: Config = RELU | {"max_value": 1.0}
BATCH_NORMALIZATION = BatchNormalization(
    epsilon=0.0, center=True, scale=True, momentum=0.99
).keras_settings()


def in_keras_order(layers: list[Config], output: str) -> list[Config]:
    """Layers in the order in which Keras lists those of a functional model; Keras assigns weights
    by that order."""
    by_name = {layer["name"]: layer for layer in layers}
    inbound = {
        name: [source for node in layer["inbound_nodes"] for source, *_ in node]
        for name, layer in by_name.items()
    }
    return [by_name[name] for name in keras_order((output,), inbound)]
