"""Compare a converted network with real Keras, layer by layer.

Keras reads the *file* itself, so that mistakes of our reader show. A full model is loaded by
Keras's `load_model`, provided that read_keras_file has found only stock layers in it; weights-only
files are loaded by `load_weights` into a network of our configuration. Files that read_keras_file
refuses never reach Keras.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ytf_torch.convert.keras.keras_config import HOLDERS, STRIP
from ytf_torch.convert.keras.keras_file import KerasFile, read_keras_file
from ytf_torch.convert.keras.keras_graph import dense_order
from ytf_torch.convert.keras.keras_process import (
    KerasAnswer,
    Logits,
    ask_keras,
    installed_libraries,
)
from ytf_torch.convert.keras.keras_writer import model_config
from ytf_torch.convert.parity import Parity, Reference, compare_logits
from ytf_torch.errors import InputError, argument
from ytf_torch.layers.registry import known_classes
from ytf_torch.network.module import Network

# Wider than the tolerance for logits: in hidden layers large terms may cancel, so that rounding
# errors are large relative to the output. A wrong memory layout differs by orders of magnitude
# more.
LAYER_TOLERANCE = 1e-5
# Keras 2 loads all HDF5 files of Keras 2; Keras 3 loads all .keras files and whatever it wrote.
KERAS_2_FIRST, KERAS_3_FIRST = ("tf_keras", "keras"), ("keras", "tf_keras")
# Name of the model's output, after its last activation, among the compared outputs.
ANSWER = "answer"
# Everything that a configuration may name if Keras is to build it. None of these opens a file or
# calls a function that the configuration chooses.
STOCK_LAYERS = frozenset({*known_classes(), *HOLDERS})
STOCK_OBJECTS = frozenset(
    {
        *("Zeros", "Ones", "Constant", "Identity", "Orthogonal", "OrthogonalInitializer"),
        *("RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling"),
        *("GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal"),
        *("LecunUniform", "LecunNormal"),
        *("L1", "L2", "L1L2", "OrthogonalRegularizer"),
        *("MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm"),
        *("DTypePolicy", "FloatDTypePolicy", "Policy", "__keras_tensor__", "__tuple__"),
    }
)


@dataclass(frozen=True)
class LayerParity:
    """Comparison of one layer's output with Keras's: largest absolute value and difference."""

    layer: str
    largest_output: float
    largest_difference: float

    @property
    def held(self) -> bool:
        """Whether `largest_difference ≤ LAYER_TOLERANCE · largest_output`."""
        return self.largest_difference <= LAYER_TOLERANCE * self.largest_output


@dataclass(frozen=True)
class KerasParity:
    """Comparison of a converted model with Keras: layers in order, model output, logits."""

    keras_version: str
    layers: tuple[LayerParity, ...]
    logits: Parity

    @property
    def first_divergence(self) -> str | None:
        """The first layer whose outputs differ beyond the tolerance."""
        return next((parity.layer for parity in self.layers if not parity.held), None)

    @property
    def failures(self) -> tuple[str, ...]:
        """Reasons why parity does not hold, one line each; empty where it holds."""
        first = self.first_divergence
        return (*((f"first layer that diverges: {first}",) if first else ()), *self.logits.failures)

    @property
    def held(self) -> bool:
        """Whether every layer and the logits agree."""
        return not self.failures


def noise_images(model: Network, images: int = 32) -> NDArray[np.uint8]:
    """Random images (images, channels, H, W), pixel values 0–255, with a fixed seed."""
    shape = (images, *model.input_shape)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def compared_layers(model: Network, paths: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The layers whose outputs are compared, in order: layers with weights and max pooling that
    exist in Keras too. The output layer is compared separately, by its logits.

    paths: layer → its path in Keras (containing models, outermost first, and its name).
    """
    graph = model.graph
    return tuple(
        layer.name
        for layer in graph.layers
        if layer.name != graph.output
        and layer.name in paths
        and (graph.weights(layer.name) or layer.kind.largest)
    )


def layer_outputs(model: Network, pixels: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Layer → its output (batch, …). pixels: (batch, channels, H, W), values 0–255."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:  # noqa: ANN401
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[name] = output

        return hook

    handles = [model.layer(name).register_forward_hook(keep(name)) for name in layers]
    try:
        with torch.inference_mode():
            model(pixels)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def compare_with_keras(
    model: Network,
    source: Path,
    images: NDArray[np.generic] | None = None,
    architecture: Path | None = None,
) -> KerasParity:
    """Run Keras and the model on the same images and compare the outputs of all layers.

    images: (images, channels, H, W), pixel values 0–255; random ones by default. architecture: see
    read_keras_file. Raises InputError where Keras is not installed or cannot read the file, or
    where the file names something that real Keras must not build.
    """
    pixels = noise_images(model) if images is None else images
    with tempfile.TemporaryDirectory() as folder:
        file, copy = _own_copy(source, Path(folder), architecture)
        in_file = {} if file.network is None else file.network.paths
        paths = in_file or {name: (name,) for name in model.graph.shapes}
        compared = compared_layers(model, paths)
        layers = {name: paths[name] for name in compared}
        logits = logits_in_keras(model, paths[model.graph.output])
        keras = _ask(model, file, copy, pixels, logits, layers)
    ours = layer_outputs(model, torch.from_numpy(pixels), compared)
    parities = [_layer_parity(name, ours[name], keras.layers[name]) for name in compared]
    # Computed from Keras's own logits: a softmax would amplify rounding errors of large logits.
    kind = model.graph[model.graph.output].kind
    answer = torch.from_numpy(keras.logits).double()
    if logits.without_activation:
        answer = kind.activation.apply(answer)
    parities.append(_layer_parity(ANSWER, answer, keras.outputs))
    reference = Reference(pixels, of_two_classes(keras.logits))
    return KerasParity(keras.by.split()[1], tuple(parities), compare_logits(model, reference))


def logits_in_keras(model: Network, path: Sequence[str]) -> Logits:
    """Where Keras computes the logits. path: of the output layer in Keras."""
    output = model.graph.output
    changed = model.computed_kind(output) != model.graph[output].kind
    return Logits(tuple(path), without_activation=changed)


def of_two_classes(logits: NDArray[Any]) -> NDArray[Any]:
    """Logits (images, classes). A single logit z of a sigmoid becomes the two-class logits (0,
    z)."""
    if logits.shape[1] > 1:
        return logits
    return np.concatenate([np.zeros_like(logits), logits], axis=1)


def _layer_parity(name: str, ours: Tensor, theirs: NDArray[Any]) -> LayerParity:
    keras = torch.from_numpy(theirs).double()
    difference = float((ours.double() - keras).abs().max()) if ours.shape == keras.shape else np.inf
    return LayerParity(name, float(keras.abs().max()), difference)


def _ask(
    model: Network,
    file: KerasFile,
    copy: Path,
    pixels: NDArray[np.generic],
    logits: Logits,
    layers: Mapping[str, Sequence[str]],
) -> KerasAnswer:
    """Have the first Keras library that can load the file run it on the pixels."""
    installed = installed_libraries()
    _check_stock(file)
    keras_2 = file.format == "h5" and not file.keras_version.startswith("3")
    libraries = [
        name for name in (KERAS_2_FIRST if keras_2 else KERAS_3_FIRST) if name in installed
    ]
    # Keras recognises formats by the file name extension only; users' files may have another one.
    renamed = copy.rename(copy.with_name(f"network.{file.format}"))
    images = _keras_images(model, pixels.astype(np.float64))
    if model.dtype != torch.float64:
        images = images.astype(np.float32)
    first_error: InputError | None = None
    for library in libraries:
        try:
            return ask_keras(
                library,
                renamed,
                [images],
                architecture=_architecture(model, file),
                logits=logits,
                layers=layers,
                called=file.path,
            )
        except InputError as error:
            first_error = first_error or error
    assert first_error is not None
    raise first_error


def _keras_images(network: Network, pixels: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Preprocess pixel values 0–255, (images, channels, height, width), as Keras's input: (images,
    height, width, channels)."""
    preprocessing, scaled = network.pixel_preprocessing, pixels
    if preprocessing.only_scales:
        scaled = np.multiply(pixels, preprocessing.pixel_scale, dtype=pixels.dtype)
    else:
        channels = preprocessing.of_channels(list(pixels.swapaxes(0, 1)))
        scaled = np.stack(channels, axis=1)
    return scaled.transpose(0, 2, 3, 1)


def _own_copy(source: Path, folder: Path, architecture: Path | None) -> tuple[KerasFile, Path]:
    """Copy a file, so that Keras loads exactly the bytes that read_keras_file has checked, even if
    the file is replaced meanwhile. Raises InputError where it changed between the two reads."""
    content = source.read_bytes()
    copy = folder / "network"
    copy.write_bytes(content)
    file = read_keras_file(source, architecture)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise InputError(source, "changed while it was read", "Start again")
    return file, copy


def _architecture(model: Network, file: KerasFile) -> str | None:
    """Keras's JSON of the architecture for a weights-only file; None for a full model.

    The given architecture, else ours. In ours, the inputs of Add are put into the order of the
    file's dense layers, because Keras numbers layers in the order in which it visits them.
    """
    if file.architecture is not None:
        return file.architecture.text
    if file.network is not None:
        return None
    config, order = model_config(model), dense_order(file)
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "Add":
            (sources,) = layer["inbound_nodes"]
            sources.sort(key=lambda source: order.index(source[0]))
    return json.dumps(config)


def _check_stock(file: KerasFile) -> None:
    """Raises InputError where the configuration names anything that real Keras must not build."""
    if file.network is None:
        return
    place = argument("against_keras")
    if any(layer.in_pruning_wrapper for layer in file.network.flat.layers):
        raise InputError(place, "real Keras does not load a PruneLowMagnitude wrapper", STRIP)
    for module, class_name in sorted(file.objects, key=str):
        stock = class_name in STOCK_LAYERS | STOCK_OBJECTS
        if not (stock and _is_keras_module(module)):
            found = class_name if module is None else f"{class_name} of {module}"
            raise InputError(place, f"real Keras is not given a configuration that has {found}")


def _is_keras_module(module: str | None) -> bool:
    return module is None or module.split(".")[0] in ("keras", "tf_keras")


def run_keras(
    path: Path,
    network: Network,
    batches: list[NDArray[np.floating[Any]]],
    *,
    whole_answer: bool = False,
) -> Iterator[KerasAnswer]:
    """Run a file that this package has just written in every installed Keras library.

    network: the network in the file, B for a GoodNet. batches: (batch, channels, height, width),
    pixel values 0–255. whole_answer: request only the model's output, not logits; for a GoodNet.
    Raises InputError where no Keras is installed, or one cannot run the file.
    """
    images = [_keras_images(network, batch) for batch in batches]
    weights_alone = path.name.endswith(".weights.h5")
    architecture = json.dumps(model_config(network)) if weights_alone else None
    logits = Logits() if whole_answer else logits_in_keras(network, (network.graph.output,))
    for library in installed_libraries():
        yield ask_keras(library, path, images, architecture=architecture, logits=logits)
