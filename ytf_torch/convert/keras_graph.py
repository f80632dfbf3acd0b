"""Which network a Keras file holds: DeepID and nothing else, and its weights as a state_dict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ytf_torch.convert.keras_config import KerasLayer, KerasModel
from ytf_torch.convert.keras_file import KerasFile
from ytf_torch.convert.keras_h5 import Arrays
from ytf_torch.convert.keras_layers import CLASS_NAMES, WITHOUT_EFFECT, fixed_settings, setting
from ytf_torch.convert.keras_variables import StoredLayer
from ytf_torch.convert.layout import (
    convolution_from_keras,
    dense_from_keras,
    flattened_dense_from_keras,
)
from ytf_torch.errors import InputError, argument, mismatch, printable
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.deepid import (
    CONVOLUTIONS,
    INPUT_CHANNELS,
    YOUTUBE_FACES_SIZE,
    DeepID,
    DeepIDSizes,
)
from ytf_torch.network.deepid_graph import DEEPID
from ytf_torch.network.graph import Graph
from ytf_torch.network.pixel_scale import check_pixel_scale
from ytf_torch.network.provenance import MAX_NAME_LENGTH, Provenance, conversion_step, tool_version

DENSE = DEEPID.names("dense")
# Layers that hand on what they read unless they are being trained; tests ask real Keras of each.
# Keras 3 casts what is fed to a network to the precision of its layers, and says so from 3.3 on.
IDENTITY_AT_INFERENCE = frozenset(
    {
        *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
        *("AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization", "Cast"),
        *("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast"),
        *("RandomBrightness", "RandomHue", "RandomShear", "RandomColorJitter", "RandomGrayscale"),
        *("RandomErasing", "RandomGaussianBlur", "RandomInvert", "RandomPerspective"),
        *("RandomElasticTransform", "RandAugment", "AugMix", "MixUp", "CutMix"),
    }
)


@dataclass(frozen=True)
class Expected:
    """A layer as DeepID has it, and the layers it reads.

    name: None where Keras may have chosen it. settings: configuration key → the value it must
    have; a key that this version of Keras does not write counts as right.
    """

    class_name: str
    name: str | None
    inputs: tuple[Expected, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def _expected(graph: Graph, name: str) -> Expected:
    """A layer of a graph as Keras files describe it."""
    layer = graph[name]
    return Expected(
        CLASS_NAMES[layer.kind],
        name if layer.is_module else None,
        tuple(_expected(graph, source) for source in layer.inputs),
        fixed_settings(graph, name),
    )


def _check_graph(file: KerasFile, model: KerasModel) -> tuple[int, int]:
    """Compare a file's configuration with DeepID; the height and width of its input."""
    place = file.place
    layers = {layer.name: layer for layer in model.layers}
    if len(model.outputs) != 1 or model.outputs[0] not in layers:
        raise mismatch(place, "one output layer, `output`", list(model.outputs))
    used: set[str] = set()
    found: dict[str, KerasLayer] = {}

    def reached(name: str) -> KerasLayer:
        passed: set[str] = set()
        while True:
            if name not in layers:
                raise InputError(place, f"a layer {name!r} is used but not there")
            if name in passed:
                raise InputError(place, f"{name} reads itself")
            used.add(name)
            passed.add(name)
            layer = layers[name]
            if not _does_nothing(layer) or len(layer.inbound) != 1:
                return layer
            name = layer.inbound[0]

    def compare(name: str, expected: Expected) -> None:
        layer = reached(name)
        _check_layer(layer, expected, f"{place}, {layer.name}")
        found[expected.name or expected.class_name] = layer
        inbound = layer.inbound
        if expected.class_name == "Add":
            inbound = tuple(sorted(inbound, key=lambda name: reached(name).name))
        for source, expected_source in zip(inbound, expected.inputs, strict=True):
            compare(source, expected_source)

    compare(model.outputs[0], _expected(DEEPID, DEEPID.output))
    for layer in model.layers:
        if layer.name not in used and not _does_nothing(layer):
            raise InputError(place, f"DeepID has no {layer.class_name} {layer.name}")
    _check_sizes(file, found)
    return _input_size(found["InputLayer"], f"{place}, {found['InputLayer'].name}")


def _does_nothing(layer: KerasLayer) -> bool:
    """Whether a layer hands on what it reads, at inference."""
    linear = layer.class_name == "Activation" and _same(layer.config.get("activation"), "linear")
    return linear or layer.class_name in IDENTITY_AT_INFERENCE


def _check_layer(layer: KerasLayer, expected: Expected, place: str) -> None:
    wanted = expected.class_name + (f" {expected.name}" if expected.name else "")
    if layer.class_name != expected.class_name or expected.name not in (None, layer.name):
        remedy = ""
        if layer.class_name == "Rescaling":
            scale = str(layer.config.get("scale"))[:20]
            given = f"give its scale, {scale}, as {argument('pixel_scale')}"
            remedy = f"Save the network without it, and {given}"
        found = f"{layer.class_name} {layer.name}"
        raise mismatch(place, f"{wanted}, as DeepID has there", found, remedy)
    for key, value in expected.settings.items():
        given = setting(layer.class_name, layer.config, key)
        if not _same(given, value):
            told = "" if key in layer.config else ", Keras's own where the file tells none"
            raise mismatch(f"{place}, {key}", value, str(given)[:80] + told)
    for key, given in layer.config.items():
        if given is not None and key not in WITHOUT_EFFECT | expected.settings.keys():
            raise InputError(place, f"a setting that is not understood: {key[:40]}={given!s:.80}")
    if len(layer.inbound) != len(expected.inputs):
        raise mismatch(place, f"{len(expected.inputs)} inputs", len(layer.inbound))


def _input_size(layer: KerasLayer, place: str) -> tuple[int, int]:
    shape = layer.config.get("batch_input_shape") or layer.config.get("batch_shape")
    if not (isinstance(shape, list) and len(shape) == 4 and shape[3] == INPUT_CHANNELS):
        raise mismatch(place, "an input of (batch, height, width, 3)", str(shape)[:80])
    height, width = shape[1:3]
    if not (isinstance(height, int) and isinstance(width, int) and 0 < height * width < 10**8):
        raise mismatch(place, "a height and a width", str(shape)[:80])
    return height, width


def _check_sizes(file: KerasFile, found: Mapping[str, KerasLayer]) -> None:
    """The configuration must state the sizes that the weights have."""
    for name in DEEPID.weighted:
        kernel = next(iter(file.weights.get(name, {}).values()), None)
        if kernel is None:
            continue
        config = found[name].config
        stated: dict[str, Any] = {"units": kernel.shape[-1]}
        if kernel.ndim == 4:
            stated = {"filters": kernel.shape[-1], "kernel_size": list(kernel.shape[:2])}
        for key, value in stated.items():
            if not _same(config.get(key), value):
                raise mismatch(
                    f"{file.path}@model_config, {name}, {key}",
                    f"{value}, by its weights",
                    str(config.get(key))[:80],
                )


def _same(found: object, expected: object) -> bool:
    if isinstance(found, dict):  # an activation as an object, of which Keras asks the class
        told = [found.get(key) or expected for key in ("config", "registered_name")]
        found = found.get("class_name") if told == [expected, expected] else None
    return found == expected and isinstance(found, bool) == isinstance(expected, bool)


def _named(layers: Mapping[str, list[StoredLayer]], place: object) -> dict[str, Arrays]:
    """The layers of a .weights.h5 under DeepID's names.

    Keras counts layers from the input on: conv_1 to conv_4, then fc_1 and fc_2 in the order in
    which Add reads them, then `output`. Only the names that Keras tells from 3.6 on, and the
    shapes, say which of the two is which. Raises InputError where neither does.
    """
    found = {kind: len(stored) for kind, stored in layers.items()}
    if found != {"conv2d": len(CONVOLUTIONS), "dense": len(DENSE)}:
        listed = ", ".join(f"{count} {kind}" for kind, count in found.items())
        raise mismatch(place, "DeepID's weights, 4 conv2d and 3 dense", listed)
    every = [*layers["conv2d"], *layers["dense"]]
    if {layer.name for layer in every} == set(DEEPID.weighted):
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


def _fits(weights: Mapping[str, Arrays]) -> bool:
    shapes = {
        f"{layer}.{part}": _keras_order(arrays[keras].shape)
        for layer, arrays in weights.items()
        for part, keras in (("weight", "kernel"), ("bias", "bias"))
    }
    try:
        DeepIDSizes.of_shapes(shapes, YOUTUBE_FACES_SIZE, "")
    except InputError:
        return False
    return True


def _arrays(file: KerasFile) -> dict[str, NDArray[np.floating[Any]]]:
    """Keras's arrays under PyTorch's names, checked to be DeepID's, each exactly once."""
    arrays: dict[str, NDArray[np.floating[Any]]] = {}
    left_over: list[str] = []
    named = file.weights if file.numbered is None else _named(file.numbered, file.path)
    for layer, weights in named.items():
        if layer not in DEEPID.weighted:
            left_over.append(f"{layer} ({', '.join(weights)})")
            continue
        for part, (name, array) in zip(("weight", "bias"), weights.items(), strict=False):
            rank = 1 if part == "bias" else 4 if layer in CONVOLUTIONS else 2
            if array.ndim != rank:
                raise mismatch(
                    f"{file.path}:{layer}/{name}", f"{rank} dimensions", f"shape {array.shape}"
                )
            arrays[f"{layer}.{part}"] = array
        left_over += [f"{layer}/{name}" for name in list(weights)[2:]]
    missing = [
        f"{layer} ({keras})"
        for layer in DEEPID.weighted
        for part, keras in (("weight", "kernel"), ("bias", "bias"))
        if f"{layer}.{part}" not in arrays
    ]
    if missing or left_over:
        raise InputError(
            file.path,
            f"not a DeepID: missing {', '.join(missing) or 'nothing'}; "
            f"left over {', '.join(left_over) or 'nothing'}",
        )
    return arrays


def _keras_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a Keras kernel or bias → shape of PyTorch's."""
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]


def deepid_checkpoint(file: KerasFile, pixel_scale: float) -> Checkpoint:
    """Convert a Keras file to a DeepID model; no weight is rounded.

    pixel_scale: what pixel values 0–255 are multiplied by before the network, which no Keras
    file tells. The model computes in the precision of the file's dtype policy, else in that of
    its weights: float16 are widened to float32, float64 stay float64.
    Raises InputError, naming the first difference, where the file does not hold a DeepID.
    """
    check_pixel_scale(pixel_scale, argument("pixel_scale"))
    arrays = _arrays(file)
    input_size = YOUTUBE_FACES_SIZE if file.model is None else _check_graph(file, file.model)
    shapes = {name: _keras_order(array.shape) for name, array in arrays.items()}
    sizes = DeepIDSizes.of_shapes(shapes, input_size, file.path)
    precision = np.result_type(np.float32, *(array.dtype for array in arrays.values()))
    if file.precision is not None:
        if precision > file.precision:
            raise mismatch(file.path, f"{file.precision}, as its dtype policy says", precision)
        precision = np.dtype(file.precision)
    state = {name: _tensor(name, array.astype(precision), sizes) for name, array in arrays.items()}
    source_file = printable(file.path.name)[:MAX_NAME_LENGTH]
    keras_version = printable(file.keras_version)[:MAX_NAME_LENGTH]
    history: tuple[str, ...] = (conversion_step(source_file, keras_version),)
    source_sha256 = file.sha256
    if file.origin is not None:
        source_file, source_sha256 = file.origin.source_file, file.origin.source_sha256
        history = file.origin.history
    provenance = Provenance(
        pixel_scale=pixel_scale,
        input_shape=sizes.input_shape,
        classes=sizes.classes,
        source_file=source_file,
        source_sha256=source_sha256,
        keras_version=keras_version,
        converter_version=tool_version(),
        history=history,
    )
    return Checkpoint(DeepID.from_state_dict(state, sizes, pixel_scale), provenance)


def _tensor(name: str, array: NDArray[np.floating[Any]], sizes: DeepIDSizes) -> Tensor:
    layer, _, part = name.rpartition(".")
    (source,) = DEEPID[layer].inputs
    if part == "bias":
        converted = array
    elif layer in CONVOLUTIONS:
        converted = convolution_from_keras(array)
    elif DEEPID[source].kind == "flatten":
        _, height, width = sizes.output_shapes[DEEPID[source].inputs[0]]
        converted = flattened_dense_from_keras(array, (height, width))
    else:
        converted = dense_from_keras(array)
    return torch.from_numpy(converted)


def parameter_rows(file: KerasFile, checkpoint: Checkpoint) -> Iterable[tuple[str, str, str, int]]:
    """For each array: layer and part, Keras's shape, PyTorch's shape, number of parameters."""
    arrays = _arrays(file)
    for name, tensor in checkpoint.model.state_dict().items():
        yield name, _times(arrays[name].shape), _times(tuple(tensor.shape)), tensor.numel()


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
