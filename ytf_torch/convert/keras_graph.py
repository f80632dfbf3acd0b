"""Which network a Keras file holds: its layers as a graph, and its weights as a state_dict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ytf_torch.convert.keras_config import KerasLayer, KerasModel
from ytf_torch.convert.keras_file import KerasFile
from ytf_torch.convert.keras_h5 import Arrays
from ytf_torch.convert.keras_variables import StoredLayer
from ytf_torch.errors import InputError, argument, mismatch, printable
from ytf_torch.layers.registry import IDENTITIES, read_layer
from ytf_torch.layers.weight import Shape, Weight
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.deepid import (
    CONVOLUTIONS,
    DENSE,
    WEIGHTED,
    YOUTUBE_FACES_SIZE,
    DeepIDSizes,
    as_deepid,
    deepid_graph,
)
from ytf_torch.network.graph import Graph, Layer, checked_graph
from ytf_torch.network.module import Network, can_be_named
from ytf_torch.network.pixel_scale import check_pixel_scale
from ytf_torch.network.provenance import MAX_NAME_LENGTH, Provenance, conversion_step, tool_version


def graph_of(model: KerasModel, place: str, keras_version: str = "unknown") -> Graph:
    """The graph of a Keras configuration, without the layers that do nothing when it answers.

    place: what to name in an error. keras_version: that wrote it, which decides what hard_sigmoid
    means. Raises InputError, naming the layer, where one is not known or its settings are not
    understood; where a layer leads nowhere; where the network is no classifier of images.

    The graph of the lab's network is the lab's own, whatever its layers without weights are called.
    """
    by_name = {layer.name: layer for layer in model.layers}
    if len(model.outputs) != 1 or model.outputs[0] not in by_name:
        raise mismatch(place, "one output layer", ", ".join(model.outputs) or "none")
    order = _from_input_to_output(model.outputs[0], by_name, place)
    for layer in model.layers:
        if layer.name not in order and layer.class_name not in IDENTITIES:
            raise InputError(place, f"a layer that leads to no output: {layer.name}")
    names: dict[str, str] = {}  # of the file → of the graph; a layer that does nothing: its input's
    layers: list[Layer] = []
    shapes: dict[str, Shape] = {}
    for name in order:
        layer = by_name[name]
        inputs = tuple(names[source] for source in layer.inbound)
        if layer.class_name in IDENTITIES and len(inputs) == 1:
            names[name] = inputs[0]
            continue
        where = f"{place}, {name}"
        if not inputs and layers:
            raise InputError(where, "a second input; networks with one are read")
        read = [shapes[source] for source in inputs]
        kind = read_layer(layer.class_name, _config(layer, keras_version), where, *read)
        if kind.is_identity:
            names[name] = inputs[0]
            continue
        names[name] = own = _free_name(name, shapes)
        layers.append(Layer(own, kind, inputs))
        shapes[own] = kind.output_shape(*read)
    return as_deepid(checked_graph(layers, place))


def _from_input_to_output(
    output: str, by_name: Mapping[str, KerasLayer], place: str
) -> dict[str, None]:
    """The layers that lead to the output, each behind what it reads."""
    order: dict[str, None] = {}
    open_: set[str] = set()
    waiting = [(output, False)]
    while waiting:
        name, read = waiting.pop()
        if name not in by_name:
            raise InputError(place, f"a layer {name!r} is used but not there")
        if read:
            open_.discard(name)
            order[name] = None
        elif name not in order:
            if name in open_:
                raise InputError(place, f"{name} reads itself")
            open_.add(name)
            waiting.append((name, True))
            waiting += [(source, False) for source in reversed(by_name[name].inbound)]
    return order


def _config(layer: KerasLayer, keras_version: str) -> Mapping[str, Any]:
    """A layer's settings; Keras 3's hard_sigmoid is another function than that of Keras 2."""
    activation = layer.config.get("activation")
    if isinstance(activation, Mapping):
        activation = activation.get("config")
    if activation == "hard_sigmoid" and not keras_version.startswith(("0", "1", "2")):
        return {**layer.config, "activation": "hard_sigmoid_3"}
    return layer.config


def _free_name(name: str, taken: Iterable[str]) -> str:
    """A layer's name in the graph: Keras's own, but for what no module of PyTorch may be called."""
    own = name.replace(".", "_") or "_"
    while not can_be_named(own) or own in taken:
        own += "_"
    return own


def read_graph(file: KerasFile) -> Graph:
    """The graph that a Keras file holds; of a file of weights alone, the lab's, whose faces are
    those of YouTube Faces. Raises InputError where it holds neither."""
    if file.model is not None:
        return graph_of(file.model, file.place, file.keras_version)
    named = file.weights if file.numbered is None else _named(file.numbered, file.path)
    shapes = {
        f"{layer}.{part}": _pytorch_shape(array.shape)
        for layer, arrays in named.items()
        for part, array in zip(("weight", "bias"), arrays.values(), strict=False)
    }
    for layer, arrays in named.items():
        if len(arrays) != 2 or layer not in WEIGHTED:
            remedy = "Save the whole model with model.save('….keras')"
            found = f"weights alone, of a network that is not the lab's ({layer})"
            raise InputError(file.path, found, remedy)
    return deepid_graph(DeepIDSizes.of_shapes(shapes, YOUTUBE_FACES_SIZE, file.path), file.path)


def _pytorch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a convolution's or dense layer's kernel or bias in Keras → in PyTorch."""
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]


def _named(layers: Mapping[str, list[StoredLayer]], place: object) -> dict[str, Arrays]:
    """The layers of a .weights.h5 under DeepID's names.

    Keras counts layers from the input on: conv_1 to conv_4, then fc_1 and fc_2 in the order in
    which Add reads them, then `output`. Only the names that Keras tells from 3.6 on, and the
    shapes, say which of the two is which. Raises InputError where neither does.
    """
    found = {kind: len(stored) for kind, stored in layers.items() if stored}
    kinds = {"conv2d": len(CONVOLUTIONS), "dense": len(DENSE)}
    if found != kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in found.items())
        raise mismatch(place, "DeepID's weights, 4 conv2d and 3 dense", listed)
    every = [*layers["conv2d"], *layers["dense"]]
    if {layer.name for layer in every} == set(WEIGHTED):
        return {str(layer.name): layer.arrays for layer in every}
    named = dict(zip(CONVOLUTIONS, (layer.arrays for layer in layers["conv2d"]), strict=True))
    first, second, output = (layer.arrays for layer in layers["dense"])
    candidates = [
        named | {"fc_1": fc_1, "fc_2": fc_2, "output": output}
        for fc_1, fc_2 in ((first, second), (second, first))
    ]
    fitting = [weights for weights in candidates if _fits(weights)]
    if len(fitting) > 1:
        raise InputError(
            place,
            "fc_1 and fc_2 have one shape, and without names they cannot be told apart",
            "Save the whole model with model.save('….keras')",
        )
    return fitting[0] if fitting else candidates[0]


def _fits(weights: Mapping[str, Arrays]) -> bool:
    shapes = {
        f"{layer}.{part}": _pytorch_shape(array.shape)
        for layer, arrays in weights.items()
        for part, array in zip(("weight", "bias"), arrays.values(), strict=False)
    }
    try:
        DeepIDSizes.of_shapes(shapes, YOUTUBE_FACES_SIZE, "")
    except InputError:
        return False
    return True


def dense_order(file: KerasFile) -> tuple[str, ...]:
    """DeepID's dense layers in the order in which Keras counts them in this file's network."""
    if file.model is not None:
        order = [layer.name for layer in file.model.in_keras_order()]
        return tuple(name for name in order if name in DENSE)
    if file.numbered is None:
        return DENSE
    named = _named(file.numbered, file.path)
    stored = [layer.arrays for layer in file.numbered["dense"]]
    return tuple(name for arrays in stored for name in DENSE if named[name] is arrays)


def _arrays(file: KerasFile, graph: Graph) -> dict[str, tuple[Weight, NDArray[np.floating[Any]]]]:
    """PyTorch's name → what the weight is, and Keras's array: each weight of the graph once.

    Raises InputError, naming all of them, where weights are missing or left over, or of another
    shape than the layer's.
    """
    stored = file.weights if file.numbered is None else _named(file.numbered, file.path)
    named = {_graph_name(layer, graph): arrays for layer, arrays in stored.items() if arrays}
    found: dict[str, tuple[Weight, NDArray[np.floating[Any]]]] = {}
    missing: list[str] = []
    for layer in graph.weighted:
        parts = named.pop(layer, {})
        arrays, weights = list(parts.values()), graph.weights(layer)
        missing += [f"{layer} ({weight.keras})" for weight in weights[len(arrays) :]]
        for weight, array in zip(weights, arrays, strict=False):
            if array.shape != weight.keras_shape:
                place = f"{file.path}:{layer}/{weight.keras}"
                raise mismatch(place, f"shape {weight.keras_shape}", array.shape)
            found[f"{layer}.{weight.name}"] = weight, array
        if len(arrays) > len(weights):
            named[layer] = dict(list(parts.items())[len(weights) :])
    if missing or named:
        left = ", ".join(f"{layer} ({', '.join(arrays)})" for layer, arrays in named.items())
        raise InputError(
            file.path,
            f"weights that do not fit its layers: missing {', '.join(missing) or 'none'}; "
            f"left over {left or 'none'}",
        )
    return found


def _graph_name(layer: str, graph: Graph) -> str:
    """A layer's name in the graph, see _free_name."""
    if layer in {each.name for each in graph.layers}:
        return layer
    own = _free_name(layer, ())
    return own if own in {each.name for each in graph.layers} else layer


def keras_checkpoint(file: KerasFile, pixel_scale: float) -> Checkpoint:
    """Convert a Keras file to a network; no weight is rounded.

    pixel_scale: what pixel values 0–255 are multiplied by before the network. The model computes in
    the precision of the file's dtype policy, else in that of its weights: float16 are widened to
    float32, float64 stay float64.
    Raises InputError, naming the layer, where the file holds no classifier that is understood.
    """
    check_pixel_scale(pixel_scale, argument("pixel_scale"))
    graph = read_graph(file)
    arrays = _arrays(file, graph)
    precision = np.result_type(np.float32, *(array.dtype for _, array in arrays.values()))
    if file.precision is not None:
        if precision > file.precision:
            raise mismatch(file.path, f"{file.precision}, as its dtype policy says", precision)
        precision = np.dtype(file.precision)
    state = {
        name: torch.from_numpy(weight.from_keras(array.astype(precision)))
        for name, (weight, array) in arrays.items()
    }
    source_file = printable(file.path.name)[:MAX_NAME_LENGTH]
    keras_version = printable(file.keras_version)[:MAX_NAME_LENGTH]
    history: tuple[str, ...] = (conversion_step(source_file, keras_version),)
    source_sha256 = file.sha256
    if file.origin is not None:
        source_file, source_sha256 = file.origin.source_file, file.origin.source_sha256
        history = file.origin.history
    provenance = Provenance(
        pixel_scale=pixel_scale,
        input_shape=graph.input_shape,
        classes=graph.classes,
        source_file=source_file,
        source_sha256=source_sha256,
        keras_version=keras_version,
        converter_version=tool_version(),
        history=history,
    )
    return Checkpoint(Network.of_state(graph, state, pixel_scale, file.path), provenance)


def parameter_rows(file: KerasFile, checkpoint: Checkpoint) -> Iterable[tuple[str, str, str, int]]:
    """For each array: layer and part, Keras's shape, PyTorch's shape, number of parameters."""
    graph = checkpoint.model.graph
    for layer in graph.weighted:
        for weight in graph.weights(layer):
            name = f"{layer}.{weight.name}"
            yield name, _times(weight.keras_shape), _times(weight.shape), weight.values


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
