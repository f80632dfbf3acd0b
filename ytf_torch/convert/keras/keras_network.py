"""Translate a Keras configuration to a graph, and map Keras's layers to those of the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ytf_torch.convert.keras.keras_config import KerasLayer, KerasModel, precision_of
from ytf_torch.convert.keras.nested_models import flattened
from ytf_torch.errors import InputError, mismatch
from ytf_torch.layers.axes import keras_shape
from ytf_torch.layers.registry import IDENTITIES, read_layer
from ytf_torch.layers.weight import Shape, Weight
from ytf_torch.network.deepid import as_deepid
from ytf_torch.network.graph import Graph, Layer, checked_graph
from ytf_torch.network.module import can_be_named

Path = tuple[str, ...]


@dataclass(frozen=True)
class Slot:
    """A weight of the network and the name of its layer in the graph."""

    layer: str
    weight: Weight


@dataclass(frozen=True)
class KerasNetwork:
    """A network as its configuration describes it.

    model: the configuration, with nested models. flat: the same with nested models flattened.
    paths: layer of the graph → path of Keras's layer (containing models, outermost first, and its
    name). precision: float32 or float64, in which Keras computes.
    """

    model: KerasModel
    flat: KerasModel
    graph: Graph
    paths: Mapping[str, Path]
    precision: str

    def slots(self) -> dict[Path, tuple[Slot, ...]]:
        """Path of a Keras layer with weights → its weights in Keras's order."""
        return {
            self.paths[name]: tuple(Slot(name, weight) for weight in self.graph.weights(name))
            for name in self.graph.weighted
        }


def network_of(model: KerasModel, place: str, keras_version: str = "unknown") -> KerasNetwork:
    """The network of a Keras configuration. For the arguments and errors see `graph_of`."""
    flat = flattened(model, place)
    precision = precision_of(flat, place)
    graph, names = _graph_and_names(flat, place, keras_version)
    paths = {names[layer.name]: layer.path for layer in flat.layers if layer.name in names}
    return KerasNetwork(model, flat, graph, paths, precision)


def graph_of(model: KerasModel, place: str, keras_version: str = "unknown") -> Graph:
    """The graph of a Keras configuration, without layers that are identities at inference.

    place: what to name in an error. keras_version: the version that wrote the configuration, on
    which the definition of hard_sigmoid depends. Raises InputError, naming the layer, for an
    unknown layer, unsupported settings, or a layer that does not lead to the output; and where the
    network is no image classifier.

    DeepID gets its canonical graph, whatever its layers without weights are called.
    """
    return network_of(model, place, keras_version).graph


def _graph_and_names(
    model: KerasModel, place: str, keras_version: str
) -> tuple[Graph, dict[str, str]]:
    """The graph of a flattened configuration, and the mapping from names in the configuration to
    names in the graph, for all layers that the graph has."""
    by_name = {layer.name: layer for layer in model.layers}
    if len(model.outputs) != 1 or model.outputs[0] not in by_name:
        raise mismatch(place, "one output layer", ", ".join(model.outputs) or "none")
    order = _from_input_to_output(model.outputs[0], by_name, place)
    for layer in model.layers:
        if layer.name not in order and layer.class_name not in IDENTITIES:
            raise InputError(place, f"a layer that leads to no output: {layer.name}")
    # Name in the file → name in the graph; for a dropped identity, that of its input.
    names: dict[str, str] = {}
    own_names: dict[str, str] = {}
    layers: list[Layer] = []
    shapes: dict[str, Shape] = {}
    for name in order:
        layer = by_name[name]
        inputs = tuple(names[source] for source in layer.inbound)
        if layer.class_name in IDENTITIES and len(inputs) == 1:
            names[name] = inputs[0]
            continue
        where = f"{place}, {name}"
        input_shapes = [shapes[source] for source in inputs]
        if layer.class_name == "InputLayer" and inputs:
            _check_inner_input(layer, input_shapes[0], where)
            names[name] = inputs[0]
            continue
        if not inputs and (layers or layer.class_name != "InputLayer"):
            raise InputError(where, "a second input; networks with one are read")
        kind = read_layer(layer.class_name, _config(layer, keras_version), where, *input_shapes)
        if kind.is_identity:
            names[name] = inputs[0]
            continue
        names[name] = own_names[name] = unique = free_name(name, shapes)
        layers.append(Layer(unique, kind, inputs))
        shapes[unique] = kind.output_shape(*input_shapes)
    return as_deepid(checked_graph(layers, place)), own_names


def _check_inner_input(layer: KerasLayer, shape: Shape, where: str) -> None:
    """Raises InputError where a nested model is built for another input shape than it reads."""
    stated = layer.config.get("batch_input_shape") or layer.config.get("batch_shape")
    if stated is None:
        return
    actual = keras_shape(shape)
    sizes = stated[1:] if isinstance(stated, list) else []
    fits = len(sizes) == len(actual) and all(
        size in (None, actual_size) for size, actual_size in zip(sizes, actual, strict=True)
    )
    if not fits:
        raise mismatch(where, f"an input of {actual}, which is what it reads", str(sizes)[:80])


def _from_input_to_output(
    output: str, by_name: Mapping[str, KerasLayer], place: str
) -> dict[str, None]:
    """The layers that the output depends on, in topological order. Raises InputError for cycles."""
    # Depth-first search with an explicit stack: recursion could exceed Python's limit.
    order: dict[str, None] = {}
    in_progress: set[str] = set()
    waiting = [(output, False)]
    while waiting:
        name, finished = waiting.pop()
        if name not in by_name:
            raise InputError(place, f"a layer {name!r} is used but not there")
        if finished:
            in_progress.discard(name)
            order[name] = None
        elif name not in order:
            if name in in_progress:
                raise InputError(place, f"{name} reads itself")
            in_progress.add(name)
            waiting.append((name, True))
            waiting += [(source, False) for source in reversed(by_name[name].inbound)]
    return order


def _config(layer: KerasLayer, keras_version: str) -> Mapping[str, Any]:
    """A layer's settings, with hard_sigmoid renamed where it is that of Keras 3, which differs."""
    activation = layer.config.get("activation")
    if isinstance(activation, Mapping):
        activation = activation.get("config")
    if activation == "hard_sigmoid" and not keras_version.startswith(("0", "1", "2")):
        return {**layer.config, "activation": "hard_sigmoid_3"}
    return layer.config


def free_name(name: str, taken: Iterable[str]) -> str:
    """A unique name for a layer in the graph: Keras's name, changed where PyTorch modules or Keras
    3 layers cannot have it. taken: names in use."""
    free = name.replace(".", "_").replace("/", "_") or "_"
    while not can_be_named(free) or free in taken:
        free += "_"
    return free
