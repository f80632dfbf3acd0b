"""Convert the content of a Keras file: layers to a graph, weights to a state_dict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ytf_torch.convert.keras.keras_file import KerasFile
from ytf_torch.convert.keras.keras_h5 import Arrays, misplaced, not_fitting
from ytf_torch.convert.keras.keras_variables import StoredLayer
from ytf_torch.errors import InputError, argument, mismatch, printable
from ytf_torch.layers.weight import Weight
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.deepid import (
    CONVOLUTIONS,
    DENSE,
    WEIGHTED,
    YOUTUBE_FACES_SIZE,
    DeepIDSizes,
    deepid_graph,
)
from ytf_torch.network.graph import Graph
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import Preprocessing, preprocessing_of
from ytf_torch.network.provenance import MAX_NAME_LENGTH, Provenance, conversion_step, tool_version


def read_graph(file: KerasFile) -> Graph:
    """The graph of a Keras file. A weights-only file without an architecture is taken for DeepID,
    with the image size of YouTube Faces.

    Raises InputError where its weights are not DeepID's.
    """
    if file.network is not None:
        return file.network.graph
    named = _by_name(file)
    for layer, arrays in named.items():
        if len(arrays) != 2 or layer not in WEIGHTED:
            found = f"weights alone, of a network that is not the lab's ({layer})"
            raise InputError(file.path, found, _give_architecture())
    sizes = DeepIDSizes.of_shapes(_pytorch_shapes(named), YOUTUBE_FACES_SIZE, file.path)
    if file.numbered is None:
        _check_order(named, file.path)
    return deepid_graph(sizes, file.path)


def _check_order(named: Mapping[str, Arrays], path: object) -> None:
    """Raises InputError where DeepID's layers are in another order than Keras's although shapes
    fit: Keras loads weights by position, and would silently load them into the wrong layers."""
    expected = (*CONVOLUTIONS, *DENSE)
    shapes = {name: [array.shape for array in named[name].values()] for name in named}
    if [shapes[name] for name in named] != [shapes[name] for name in expected]:
        return
    for name, wanted in zip(named, expected, strict=True):
        if name != wanted:
            raise misplaced(path, wanted, name, next(iter(named[name])))


def _by_name(file: KerasFile) -> Mapping[str, Arrays]:
    return file.weights if file.numbered is None else _named(file.numbered, file.path)


def _give_architecture() -> str:
    return (
        f"Give {argument('architecture')}, a file of Keras's model.to_json() or a model file of "
        "the same network, or save the whole model with model.save('….keras')"
    )


def _pytorch_shapes(named: Mapping[str, Arrays]) -> dict[str, tuple[int, ...]]:
    """Name in PyTorch → shape in PyTorch, for DeepID's weights."""
    return {
        f"{layer}.{part}": _pytorch_shape(array.shape)
        for layer, arrays in named.items()
        for part, array in zip(("weight", "bias"), arrays.values(), strict=False)
    }


def _pytorch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Convert the shape of a kernel or bias from Keras to PyTorch: (h, w, in, out) → (out, in, h,
    w), (in, out) → (out, in)."""
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]


def _named(layers: Mapping[str, list[StoredLayer]], place: object) -> dict[str, Arrays]:
    """DeepID's layer name → its arrays, for a .weights.h5 without an architecture.

    Keras numbers layers from the input on: conv_1 to conv_4, then fc_1 and fc_2 in the order in
    which Add reads them, then `output`. fc_1 and fc_2 are identified by the names that Keras
    records since 3.6, or by their shapes. Raises InputError where neither is possible.
    """
    counts = {kind: len(stored) for kind, stored in layers.items() if stored}
    kinds = {"conv2d": len(CONVOLUTIONS), "dense": len(DENSE)}
    if counts != kinds:
        found = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        raise mismatch(place, "DeepID's weights, 4 conv2d and 3 dense", found, _give_architecture())
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
            "fc_1 and fc_2 have the same shape, and without names cannot be distinguished",
            "Save the whole model with model.save('….keras')",
        )
    return fitting[0] if fitting else candidates[0]


def _fits(weights: Mapping[str, Arrays]) -> bool:
    try:
        DeepIDSizes.of_shapes(_pytorch_shapes(weights), YOUTUBE_FACES_SIZE, "")
    except InputError:
        return False
    return True


def dense_order(file: KerasFile) -> tuple[str, ...]:
    """DeepID's dense layers in the order in which Keras numbers them in a weights-only file."""
    if file.numbered is None:
        return DENSE
    named = _named(file.numbered, file.path)
    stored = [layer.arrays for layer in file.numbered["dense"]]
    return tuple(name for arrays in stored for name in DENSE if named[name] is arrays)


def _arrays(file: KerasFile, graph: Graph) -> dict[str, tuple[Weight, NDArray[np.floating[Any]]]]:
    """Name in PyTorch → (weight, Keras's array), for each weight of the graph.

    Raises InputError where weights are missing or unexpected, naming all of them, or of another
    shape than the layer's.
    """
    named = {layer: arrays for layer, arrays in _by_name(file).items() if arrays}
    matched: dict[str, tuple[Weight, NDArray[np.floating[Any]]]] = {}
    missing: list[str] = []
    for layer in graph.weighted:
        parts = named.pop(layer, {})
        arrays, weights = list(parts.values()), graph.weights(layer)
        missing += [f"{layer} ({weight.keras})" for weight in weights[len(arrays) :]]
        for weight, array in zip(weights, arrays, strict=False):
            if array.shape != weight.keras_shape:
                place = f"{file.path}:{layer}/{weight.keras}"
                raise mismatch(place, f"shape {weight.keras_shape}", array.shape)
            matched[f"{layer}.{weight.name}"] = weight, array
        if len(arrays) > len(weights):
            named[layer] = dict(list(parts.items())[len(weights) :])
    if missing or named:
        unexpected = [f"{layer} ({', '.join(arrays)})" for layer, arrays in named.items()]
        raise not_fitting(file.path, missing, unexpected)
    return matched


def keras_checkpoint(file: KerasFile, preprocessing: Preprocessing | float) -> Checkpoint:
    """Convert a Keras file to a network without rounding any weight.

    preprocessing: of pixel values 0–255, or a pixel scale. The model has the dtype of the file's
    dtype policy, else of its weights: float16 is widened to float32, float64 stays float64.
    Raises InputError, naming the layer, where the file contains no supported image classifier.
    """
    preprocessing = preprocessing_of(preprocessing)
    graph = read_graph(file)
    arrays = _arrays(file, graph)
    precision = np.result_type(np.float32, *(array.dtype for _, array in arrays.values()))
    if file.network is not None:
        policy = file.network.precision
        if precision > policy:
            raise mismatch(file.path, f"{policy}, as its dtype policy says", precision)
        precision = np.dtype(policy)
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
        preprocessing=preprocessing,
        input_shape=graph.input_shape,
        classes=graph.classes,
        source_file=source_file,
        source_sha256=source_sha256,
        keras_version=keras_version,
        converter_version=tool_version(),
        history=history,
    )
    return Checkpoint(Network.of_state(graph, state, preprocessing, file.path), provenance)


def parameter_rows(file: KerasFile, checkpoint: Checkpoint) -> Iterable[tuple[str, str, str, int]]:
    """Table rows, one per array: name, Keras's shape, PyTorch's shape, number of parameters."""
    graph = checkpoint.model.graph
    for layer in graph.weighted:
        for weight in graph.weights(layer):
            name = f"{layer}.{weight.name}"
            yield name, _times(weight.keras_shape), _times(weight.shape), weight.values


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
