"""Random classifiers of all shapes of graph, with random weights, built without Keras."""

from __future__ import annotations

from typing import Any

import torch
from numpy.random import Generator, default_rng
from torch import Tensor

from ytf_torch.layers.registry import read_layer
from ytf_torch.network.graph import graph_from_json
from ytf_torch.network.module import Network

ACTIVATIONS = ("linear", "relu", "relu", "tanh", "elu", "sigmoid", "swish", "leaky_relu")


class RandomGraph:
    """Builds the record of one graph, layer by layer.

    >>> RandomGraph(default_rng(0)).records()[0]["class_name"]
    'InputLayer'
    """

    def __init__(self, random: Generator) -> None:
        self.random = random
        self.layers: list[dict[str, Any]] = []
        self.shapes: dict[str, tuple[int, ...]] = {}

    def records(self) -> list[dict[str, Any]]:
        """A whole classifier."""
        side = (int(self.random.integers(9, 15)), int(self.random.integers(9, 15)))
        batch_shape = [None, *side, int(self.any_of(1, 3, 3, 4))]
        maps = self.layer("InputLayer", batch_shape=batch_shape)
        for _ in range(int(self.random.integers(1, 5))):
            maps = self.block(maps)
        self.head(maps)
        return self.layers

    def any_of(self, *choices: Any) -> Any:
        return choices[self.random.integers(len(choices))]

    def layer(self, class_name: str, *inputs: str, **config: Any) -> str:
        """Add a layer; its name."""
        name = f"layer_{len(self.layers)}"
        read = [self.shapes[source] for source in inputs]
        self.shapes[name] = read_layer(class_name, config, name, *read).output_shape(*read)
        record = {"name": name, "class_name": class_name, "config": config}
        self.layers.append(record | {"inputs": list(inputs)})
        return name

    def block(self, maps: str) -> str:
        """One or several layers from maps to maps."""
        blocks = (
            *(self.plain, self.normalized, self.pooled_first, self.depthwise, self.separable),
            *(self.residual, self.projected, self.branches, self.dense_block, self.excited),
            *(self.transposed, self.linear_pair),
        )
        return blocks[self.random.integers(len(blocks))](maps)

    def convolution(self, maps: str, filters: int, activation: str = "linear", **more: Any) -> str:
        config = {"kernel_size": int(self.any_of(1, 3)), "padding": "same", "use_bias": True}
        return self.layer("Conv2D", maps, filters=filters, activation=activation, **(config | more))

    def pool(self, maps: str) -> str:
        kind = self.any_of("MaxPooling2D", "AveragePooling2D")
        padding = self.any_of("same", "valid") if min(self.shapes[maps][1:]) > 2 else "same"
        return self.layer(kind, maps, pool_size=2, padding=padding)

    def function(self, rows: str) -> str:
        kind, config = self.any_of(
            ("Activation", {"activation": self.any_of(*ACTIVATIONS)}),
            ("ReLU", {"max_value": 6.0}),
            ("LeakyReLU", {"alpha": 0.3}),
            ("PReLU", {"shared_axes": [1, 2]} if len(self.shapes[rows]) == 3 else {}),
        )
        return self.layer(kind, rows, **config)

    def plain(self, maps: str) -> str:
        filters, strides = int(self.any_of(3, 5)), int(self.any_of(1, 1, 2))
        activation = self.any_of(*ACTIVATIONS)
        bias = bool(self.random.integers(2))
        found = self.convolution(maps, filters, activation, strides=strides, use_bias=bias)
        return self.pool(found) if self.random.integers(2) else found

    def normalized(self, maps: str) -> str:
        """A convolution, its batch normalization, its activation, its pooling."""
        sums = self.convolution(maps, 4, use_bias=False)
        normalized = self.layer("BatchNormalization", sums, scale=bool(self.random.integers(3)))
        active = self.function(normalized)
        return self.pool(active) if self.random.integers(2) else active

    def batch_normalization(self, maps: str) -> str:
        return self.layer("BatchNormalization", maps)

    def pooled_first(self, maps: str) -> str:
        """A convolution, its pooling, a batch normalization."""
        pooled = self.pool(self.convolution(maps, 4, self.any_of(*ACTIVATIONS)))
        return self.layer("BatchNormalization", pooled)

    def depthwise(self, maps: str) -> str:
        multiplier = int(self.any_of(1, 1, 2))
        config = {"kernel_size": 3, "padding": "same", "depth_multiplier": multiplier}
        return self.layer("DepthwiseConv2D", maps, activation=self.any_of(*ACTIVATIONS), **config)

    def separable(self, maps: str) -> str:
        config = {"filters": 4, "kernel_size": 3, "padding": "same"}
        found = self.layer("SeparableConv2D", maps, **config)
        return self.function(self.layer("BatchNormalization", found))

    def transposed(self, maps: str) -> str:
        larger = self.layer("Conv2DTranspose", maps, filters=3, kernel_size=2, strides=2)
        return self.pool(self.pool(larger))

    def linear_pair(self, maps: str) -> str:
        """Two convolutions with no activation between."""
        return self.convolution(self.convolution(maps, 3), 4, self.any_of(*ACTIVATIONS))

    def residual(self, maps: str) -> str:
        """A shortcut of identity."""
        inner = self.normalized_same(maps, self.shapes[maps][0])
        pair = [maps, inner] if self.random.integers(2) else [inner, maps]
        return self.function(self.layer("Add", *pair))

    def projected(self, maps: str) -> str:
        """A shortcut with a convolution of its own."""
        inner = self.normalized_same(maps, 4)
        shortcut = self.layer("BatchNormalization", self.convolution(maps, 4))
        return self.function(self.layer("Add", inner, shortcut))

    def normalized_same(self, maps: str, filters: int) -> str:
        first = self.convolution(maps, 3, use_bias=False)
        active = self.layer("ReLU", self.layer("BatchNormalization", first))
        return self.layer("BatchNormalization", self.convolution(active, filters))

    def branches(self, maps: str) -> str:
        """Ways side by side whose channels are put together."""
        one = self.convolution(maps, 2, "relu")
        two = self.convolution(self.convolution(maps, 3, "relu"), 2, self.any_of(*ACTIVATIONS))
        config = {"pool_size": 3, "strides": 1, "padding": "same"}
        three = self.layer(self.any_of("MaxPooling2D", "AveragePooling2D"), maps, **config)
        return self.layer("Concatenate", one, two, three)

    def dense_block(self, maps: str) -> str:
        """What goes in, and what is made of it."""
        made = self.convolution(maps, 3, self.any_of(*ACTIVATIONS))
        return self.layer("Concatenate", maps, made)

    def excited(self, maps: str) -> str:
        """Each channel times a number that the whole image decides."""
        squeezed = self.layer("GlobalAveragePooling2D", maps, keepdims=True)
        gate = self.convolution(squeezed, self.shapes[maps][0], "sigmoid", kernel_size=1)
        return self.layer("Multiply", maps, gate)

    def head(self, maps: str) -> str:
        """From maps to a row of classes."""
        end = self.random.integers(7)
        if end == 0:
            pooled = self.layer("GlobalAveragePooling2D", self.convolution(maps, 4))
            return self.layer("Activation", pooled, activation="softmax")
        if end == 1:
            rows = self.layer("GlobalMaxPooling2D", maps)
        elif end == 2:
            rows = self.layer("GlobalAveragePooling2D", maps)
        elif end == 3:
            rows = self.layer("BatchNormalization", self.layer("Flatten", maps))
        else:
            rows = self.layer("Flatten", maps)
        for _ in range(int(self.random.integers(3))):
            dense = self.layer("Dense", rows, units=6, activation=self.any_of(*ACTIVATIONS))
            then = self.any_of(self.function, self.batch_normalization, str, str)
            rows = then(dense)
        if self.random.integers(5) == 0:
            return self.layer("Dense", rows, units=1, activation="sigmoid")
        activation = self.any_of("softmax", "linear")
        return self.layer("Dense", rows, units=int(self.any_of(2, 5, 40)), activation=activation)


def network_of(records: list[dict[str, Any]], seed: int = 0) -> Network:
    """A network of these layers with random weights, under which images of `pictures` get all
    kinds of answers."""
    network = Network(graph_from_json(records, "made"), preprocessing=1 / 255).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("variance"):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif tensor.ndim > 1:
                spread = (2 / max(tensor[0].numel(), 2)) ** 0.5
                tensor.normal_(0, spread, generator=generator)
            elif tensor.ndim:
                tensor.normal_(float(name.endswith("weight")), 0.3, generator=generator)
        last = network.layer(network.graph.output)
        bias = getattr(last, "bias", None)
        if isinstance(bias, Tensor):
            bias.sub_(network(pictures(network, 50)).mean(0)[-len(bias) :])
    return network


def random_network(seed: int) -> Network:
    """A random graph with random weights; the same for the same seed."""
    return network_of(RandomGraph(default_rng(seed)).records(), seed)


def pictures(network: Network, images: int, seed: int = 0) -> Tensor:
    """Images of coarse random colours for a network."""
    channels, height, width = network.input_shape
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (images, channels, 5, 5), generator=generator)
    whole = blocks.to(torch.uint8).repeat_interleave(3, 2).repeat_interleave(3, 3)
    return whole[:, :, :height, :width]
