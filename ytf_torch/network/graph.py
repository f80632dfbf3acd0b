"""The layer graph of a network as data: layer kinds, connections and output shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ytf_torch.errors import InputError, mismatch
from ytf_torch.layers.kind import Kind
from ytf_torch.layers.registry import read_layer
from ytf_torch.layers.weight import Shape, Weight

MAX_LAYERS = 1_000
# Largest height and width of an input image, in pixels: no photo is cropped to more.
MAX_SIDE = 4_096


@dataclass(frozen=True)
class Layer:
    """One layer under its Keras name. inputs: names of the layers whose outputs it reads."""

    name: str
    kind: Kind
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """All layers of a network in topological order; the last one computes the logits.

    >>> graph = network.graph
    >>> graph.shapes["pool_3"], graph.readers("pool_3")
    ((6, 5, 4), ('flatten_1', 'conv_4'))
    """

    layers: tuple[Layer, ...]

    def __deepcopy__(self, memo: object) -> Graph:
        """Return the graph itself: it is immutable."""
        return self

    def __getitem__(self, name: str) -> Layer:
        """The layer of this name. Raises KeyError."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @property
    def input(self) -> str:
        """Name of the input layer, which receives the preprocessed pixels."""
        return self.layers[0].name

    @property
    def output(self) -> str:
        """Name of the layer whose output, before its activation, is the logits."""
        return self.layers[-1].name

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Layer → shape of its output for one image: (channels, height, width) or (units,)."""
        shapes: dict[str, Shape] = {}
        for layer in self.layers:
            inputs = (shapes[source] for source in layer.inputs)
            shapes[layer.name] = layer.kind.output_shape(*inputs)
        return shapes

    def input_shapes(self, name: str) -> tuple[Shape, ...]:
        """Shapes of a layer's inputs, in order."""
        return tuple(self.shapes[source] for source in self[name].inputs)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.shapes[self.input]
        return channels, height, width

    @property
    def classes(self) -> int:
        """Number of classes; a single sigmoid unit counts as two."""
        (units,) = self.shapes[self.output]
        return max(units, 2)

    def weights(self, name: str) -> tuple[Weight, ...]:
        """The weights of a layer in Keras's order."""
        return self._weights[name]

    @cached_property
    def _weights(self) -> dict[str, tuple[Weight, ...]]:
        return {
            layer.name: layer.kind.weights(*self.input_shapes(layer.name)) for layer in self.layers
        }

    @property
    def weighted(self) -> tuple[str, ...]:
        """The layers that have weights."""
        return tuple(layer.name for layer in self.layers if self.weights(layer.name))

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        """Name → shape of every tensor of the network's state_dict."""
        return {
            f"{layer.name}.{weight.name}": weight.shape
            for layer in self.layers
            for weight in self.weights(layer.name)
        }

    @cached_property
    def convolutions(self) -> tuple[str, ...]:
        """The layers whose channels can be masked.

        Layers whose activation maps 0 to another value are left out: no weights can keep a channel
        of theirs at zero.
        """
        return tuple(
            layer.name
            for layer in self.layers
            if layer.kind.maskable
            and layer.kind.activation.silent_at_zero
            and len(self.shapes[layer.name]) == 3
        )

    def check_prunable(self) -> None:
        """Raises CannotRepairError where no channels can be masked; here never, see subclasses."""

    def readers(self, name: str) -> tuple[str, ...]:
        """The layers that read this one's output."""
        return self._readers[name]

    @cached_property
    def _readers(self) -> dict[str, tuple[str, ...]]:
        return {
            layer.name: tuple(other.name for other in self.layers if layer.name in other.inputs)
            for layer in self.layers
        }

    def is_on_every_way(self, name: str) -> bool:
        """Whether every path from the input to the output passes through this layer."""
        # Walk up from the output without passing this layer; the input must not be reached.
        visited, waiting = {name}, [self.output]
        while waiting:
            layer = self[waiting.pop()]
            if layer.name not in visited:
                visited.add(layer.name)
                waiting += layer.inputs
        return self.input not in visited

    def linear_readers(self, name: str) -> tuple[str, ...]:
        """The linear layers with weights that this layer's output reaches directly, or through
        linear layers without weights and without an activation."""
        weighted: list[str] = []
        for reader in self.readers(name):
            if not self[reader].kind.linear:
                continue
            if self.weights(reader):
                weighted.append(reader)
            elif self[reader].kind.activation.name == "linear":
                weighted += self.linear_readers(reader)
        return tuple(weighted)

    def by_depth(self) -> tuple[Layer, ...]:
        """The layers in the order in which Keras lists them, see `keras_order`."""
        inbound = {layer.name: layer.inputs for layer in self.layers}
        return tuple(self[name] for name in keras_order((self.output,), inbound))


def keras_order(outputs: Iterable[str], inbound: Mapping[str, Iterable[str]]) -> list[str]:
    """Layer names in the order in which Keras numbers the layers of a functional model.

    Sorted by depth (longest distance to an output), deepest first; ties are broken by the order
    in which a depth-first search from the outputs first visits them.
    inbound: layer → the layers that it reads. Layers that no output depends on are left out. See
    map_graph in keras/src/ops/function.py.
    """
    visited: dict[str, int] = {}
    finished: list[str] = []
    waiting = [(name, False) for name in reversed(list(outputs))]
    while waiting:
        name, done = waiting.pop()
        if done:
            finished.append(name)
        elif name in inbound and name not in visited:
            visited[name] = len(visited)
            waiting.append((name, True))
            waiting += [(source, False) for source in reversed(list(inbound[name]))]
    distance = dict.fromkeys(finished, 0)
    for name in reversed(finished):
        for source in inbound[name]:
            if source in distance:
                distance[source] = max(distance[source], distance[name] + 1)
    return sorted(visited, key=lambda name: (-distance[name], visited[name]))


def checked_graph(layers: Iterable[Layer], where: object) -> Graph:
    """A graph of layers that are given in any topological order.

    where: what to name in an error. Raises InputError where the graph is no image classifier: the
    image is too large, or too small for a layer; the output is not one-dimensional; a single unit
    has no sigmoid; or no layer has weights.
    """
    layers = tuple(layers)
    if not layers or max(layers[0].kind.output_shape()[1:], default=0) > MAX_SIDE:
        raise InputError(where, f"expected images of at most {MAX_SIDE:,} pixels a side")
    graph = Graph(_with_flat_order(layers))
    for name, shape in graph.shapes.items():
        if min(shape) < 1:
            height, width = graph.input_shape[1:]
            raise InputError(
                where, f"images of {height}×{width} are too small for its layer {name}"
            )
    shape = graph.shapes[graph.output]
    last = graph[graph.output]
    if len(shape) != 1:
        raise mismatch(f"{where}, {last.name}", "one row of classes as its output", shape)
    if shape[0] == 1 and last.kind.activation.name != "sigmoid":
        expected = "a sigmoid behind a single unit, which separates two classes"
        raise mismatch(f"{where}, {last.name}", expected, last.kind.activation.name)
    if not graph.weighted:
        raise InputError(where, "a network without weights")
    return graph


def _with_flat_order(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers, with Flatten in PyTorch's order C×H×W instead of Keras's H×W×C where the layers
    that read it can compensate for it; see Flatten."""
    graph = Graph(layers)
    return tuple(
        replace(layer, kind=arranged)
        if (arranged := layer.kind.in_pytorch_order()) is not None
        and _takes_flat_maps(graph, layer.name)
        else layer
        for layer in layers
    )


def _takes_flat_maps(graph: Graph, name: str) -> bool:
    """Whether the units of this flat layer may be reordered: every layer that reads them, up to the
    next ones with weights, treats all units alike."""
    readers = graph.readers(name)
    for reader in readers:
        kind = graph[reader].kind
        if not kind.order_free or len(graph[reader].inputs) > 1:
            return False
        if not graph.weights(reader) and not _takes_flat_maps(graph, reader):
            return False
    return bool(readers)


def graph_to_json(graph: Graph) -> list[dict[str, Any]]:
    """The JSON record of a graph in the metadata of a converted model."""
    return [
        {
            "name": layer.name,
            "class_name": layer.kind.keras_class,
            "config": layer.kind.own_settings(),
            "inputs": list(layer.inputs),
        }
        for layer in graph.layers
    ]


def graph_from_json(record: object, where: object) -> Graph:
    """The inverse of `graph_to_json`. where: what to name in an error.

    Raises InputError where the record is damaged or a layer is not supported.
    """
    if not isinstance(record, list) or not 1 < len(record) <= MAX_LAYERS:
        raise mismatch(where, f"a list of at most {MAX_LAYERS:,} layers", type(record).__name__)
    shapes: dict[str, Shape] = {}
    layers: list[Layer] = []
    for entry in record:
        if not isinstance(entry, dict):
            raise mismatch(where, "layers as objects", type(entry).__name__)
        name, class_name, config, inputs = (
            entry.get(key) for key in ("name", "class_name", "config", "inputs")
        )
        if not (isinstance(name, str) and isinstance(class_name, str) and isinstance(config, dict)):
            raise mismatch(where, "a layer's name, class_name and config", str(entry)[:80])
        if not isinstance(inputs, list) or any(source not in shapes for source in inputs):
            raise mismatch(f"{where}, {name}", "inputs listed before it", str(inputs)[:80])
        if name in shapes or bool(inputs) == (not layers):
            raise InputError(f"{where}, {name}", "a layer that is named twice, or a second input")
        input_shapes = [shapes[source] for source in inputs]
        kind = read_layer(class_name, config, f"{where}, {name}", *input_shapes)
        shapes[name] = kind.output_shape(*input_shapes)
        layers.append(Layer(name, kind, tuple(inputs)))
    return checked_graph(layers, where)
