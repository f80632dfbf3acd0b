"""DeepID, the face-recognition network of the lab, as a graph under its Keras layer names.

Source: Sun, Wang and Tang, "Deep learning face representation from predicting 10,000 classes",
CVPR 2014, as the lab trains it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ytf_torch.errors import InputError, mismatch
from ytf_torch.layers.settings import Config
from ytf_torch.layers.weight import Shape
from ytf_torch.network.graph import Graph, graph_from_json
from ytf_torch.network.module import Network

CONVOLUTIONS = ("conv_1", "conv_2", "conv_3", "conv_4")
DENSE = ("fc_1", "fc_2", "output")
WEIGHTED = ("conv_1", "conv_2", "conv_3", "fc_1", "conv_4", "fc_2", "output")
INPUT_CHANNELS = 3
YOUTUBE_FACES_SIZE = (55, 47)


@dataclass(frozen=True)
class DeepIDSizes:
    """The hyperparameters of a DeepID network.

    input_size: height and width of a face in pixels.
    channels, kernels: output channels and (height, width) of the kernels of conv_1…conv_4.
    features: units of fc_1 and fc_2. classes: units of `output`.

    >>> kernels = ((4, 4), (3, 3), (3, 3), (2, 2))
    >>> lab = DeepIDSizes((55, 47), (20, 40, 60, 80), kernels, features=160, classes=40)
    >>> lab.output_shapes["pool_3"]
    (60, 5, 4)
    """

    input_size: tuple[int, int]
    channels: tuple[int, int, int, int]
    kernels: tuple[tuple[int, int], ...]
    features: int
    classes: int

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one face."""
        return (INPUT_CHANNELS, *self.input_size)

    @property
    def output_shapes(self) -> Mapping[str, Shape]:
        """Name → shape of every layer's output for one face."""
        return deepid_graph(self).shapes

    def parameter_shapes(self) -> dict[str, Shape]:
        """Name → shape of every tensor of the state_dict these sizes imply."""
        return deepid_graph(self).parameter_shapes

    @classmethod
    def of_shapes(
        cls, shapes: Mapping[str, Shape], input_size: tuple[int, int], where: object
    ) -> DeepIDSizes:
        """Infer the sizes from the shapes of a state_dict. where: what to name in an error.

        Raises InputError where parameters are missing, unexpected or of inconsistent shape.
        """
        wanted = {f"{name}.{part}" for name in WEIGHTED for part in ("weight", "bias")}
        if set(shapes) != wanted:
            missing = ", ".join(sorted(wanted - set(shapes))) or "none"
            unexpected = ", ".join(sorted(set(shapes) - wanted)) or "none"
            raise InputError(where, f"not a DeepID: missing {missing}; unexpected {unexpected}")
        for name in sorted(wanted):
            layer, _, part = name.rpartition(".")
            rank = 1 if part == "bias" else 4 if layer in CONVOLUTIONS else 2
            if len(shapes[name]) != rank or 0 in shapes[name]:
                raise mismatch(f"{where}, {name}", f"{rank} dimensions, none empty", shapes[name])
        weights = {name: shapes[f"{name}.weight"] for name in WEIGHTED}
        c1, c2, c3, c4 = (weights[name][0] for name in CONVOLUTIONS)
        sizes = cls(
            input_size=input_size,
            channels=(c1, c2, c3, c4),
            kernels=tuple((weights[name][2], weights[name][3]) for name in CONVOLUTIONS),
            features=weights[DENSE[0]][0],
            classes=weights[DENSE[-1]][0],
        )
        height, width = input_size
        for name, implied in deepid_graph(sizes, where).parameter_shapes.items():
            if tuple(shapes[name]) != implied:
                expected = f"{implied} for faces of {height}×{width}"
                raise mismatch(f"{where}, {name}", expected, tuple(shapes[name]))
        return sizes


def deepid_graph(sizes: DeepIDSizes, where: object = "DeepID") -> Graph:
    """The lab's graph: three convolutions with pooling; the last maps feed fc_1 directly, and fc_2
    through conv_4; the sum of both feeds the output layer.

    where: what to name in an error. Raises InputError where the image is too small for the kernels.

    >>> kernels = ((4, 4), (3, 3), (3, 3), (2, 2))
    >>> lab = DeepIDSizes((55, 47), (20, 40, 60, 80), kernels, features=160, classes=40)
    >>> deepid_graph(lab).readers("pool_3")
    ('flatten_1', 'conv_4')
    """
    layers: list[Config] = []

    def add(class_name: str, name: str, *inputs: str, **config: object) -> None:
        layer = {"name": name, "class_name": class_name, "config": config, "inputs": list(inputs)}
        layers.append(layer)

    def convolution(number: int, source: str) -> None:
        size: Config = {"filters": sizes.channels[number - 1]}
        size["kernel_size"] = list(sizes.kernels[number - 1])
        add("Conv2D", f"conv_{number}", source, activation="relu", **size)

    height, width = sizes.input_size
    add("InputLayer", "input", batch_input_shape=[None, height, width, INPUT_CHANNELS])
    below = "input"
    for number in (1, 2, 3):
        convolution(number, below)
        below = f"pool_{number}"
        add("MaxPooling2D", below, f"conv_{number}")
    add("Flatten", "flatten_1", "pool_3")
    add("Dense", "fc_1", "flatten_1", units=sizes.features)
    convolution(4, "pool_3")
    add("Flatten", "flatten_2", "conv_4")
    add("Dense", "fc_2", "flatten_2", units=sizes.features)
    add("Add", "add_1", "fc_1", "fc_2")
    add("Activation", "activation_1", "add_1", activation="relu")
    add("Dense", "output", "activation_1", units=sizes.classes, activation="softmax")
    return graph_from_json(layers, where)


def deepid(sizes: DeepIDSizes, pixel_scale: float = 1.0) -> Network:
    """A DeepID with PyTorch's default initialisation; `Network.fresh` initialises as Keras does.

    >>> kernels = ((4, 4), (3, 3), (3, 3), (2, 2))
    >>> lab = DeepIDSizes((55, 47), (20, 40, 60, 80), kernels, features=160, classes=40)
    >>> deepid(lab)(torch.zeros(2, 3, 55, 47)).shape
    torch.Size([2, 40])
    """
    return Network(deepid_graph(sizes), pixel_scale)


def as_deepid(graph: Graph) -> Graph:
    """The canonical graph of DeepID if this graph is DeepID with the lab's names of weighted
    layers; else the graph itself. Layer order and names of layers without weights may differ."""
    try:
        sizes = DeepIDSizes.of_shapes(graph.parameter_shapes, graph.input_shape[1:], "")
        canonical = deepid_graph(sizes)
    except InputError:
        return graph
    alike = _alike(graph, graph.output, canonical, canonical.output)
    return canonical if alike and len(graph.layers) == len(canonical.layers) else graph


def _alike(graph: Graph, name: str, other_graph: Graph, other_name: str) -> bool:
    """Whether the subgraphs that compute two layers are equal, up to the order of a sum's inputs
    and the names of layers without weights."""
    layer, other = graph[name], other_graph[other_name]
    named = not other_graph.weights(other_name) or name == other_name
    if layer.kind != other.kind or not named or len(layer.inputs) != len(other.inputs):
        return False
    inputs = layer.inputs if len(layer.inputs) == 1 else tuple(sorted(layer.inputs))
    pairs = zip(inputs, other.inputs, strict=True)
    return all(_alike(graph, source, other_graph, other_source) for source, other_source in pairs)
