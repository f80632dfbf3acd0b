"""What real Keras computes from a file, layer by layer, beside what we do.

Keras gets the *file*, so that a mistake in our reading of it shows. A model's file goes to its own
`load_model`, where the file holds nothing but stock layers, as read_keras_file has found them; a
file of weights is loaded by its own `load_weights` into a network of our configuration. Files
that read_keras_file refuses are refused here too, and never reach Keras.
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

# Wider than the logits' tolerance: what rounding leaves of a hidden layer is measured against an
# output in which large terms have cancelled. A wrong layout differs by orders of magnitude more.
LAYER_TOLERANCE = 1e-5
# Keras 2 loads all of its own HDF5 files, Keras 3 all of its own format and of its own writing.
KERAS_2_FIRST, KERAS_3_FIRST = ("tf_keras", "keras"), ("keras", "tf_keras")
# The model's answer, after its last activation, among the outputs that are compared.
ANSWER = "answer"
# All that a configuration may name where Keras is to build it: nothing of this opens a file or
# calls a function of the configuration's choice.
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
    """One layer's outputs beside Keras's: largest absolute value and largest difference."""

    layer: str
    largest_output: float
    largest_difference: float

    @property
    def held(self) -> bool:
        """Whether the difference is within the tolerance, relative to the largest output."""
        return self.largest_difference <= LAYER_TOLERANCE * self.largest_output


@dataclass(frozen=True)
class KerasParity:
    """A converted model beside live Keras: every layer in order, the model's answer, the logits."""

    keras_version: str
    layers: tuple[LayerParity, ...]
    logits: Parity

    @property
    def first_divergence(self) -> str | None:
        """The first layer whose outputs differ beyond the tolerance."""
        return next((parity.layer for parity in self.layers if not parity.held), None)

    @property
    def failures(self) -> tuple[str, ...]:
        """What broke parity, one line each; empty where it holds."""
        first = self.first_divergence
        return (*((f"first layer that diverges: {first}",) if first else ()), *self.logits.failures)

    @property
    def held(self) -> bool:
        """Every layer and the logits agree."""
        return not self.failures


def noise_images(model: Network, images: int = 32) -> NDArray[np.uint8]:
    """Images (images, 3, H, W) of random pixels, the same at every call."""
    shape = (images, *model.input_shape)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def compared_layers(model: Network, paths: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The layers whose outputs are compared: those that have weights, and their poolings where the
    file calls them the same, in order. The last one ends in logits here.

    paths: layer → the models that hold it in Keras, and its name there.
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
    """Outputs of layers."""
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
    """Run Keras and the model on the same images and compare every layer, and the answer.

    images: (images, channels, H, W), pixel values 0–255; random ones by default. architecture: see
    read_keras_file. Raises InputError where Keras is not installed, cannot read the file, or may
    not be given it.
    """
    pixels = noise_images(model) if images is None else images
    with tempfile.TemporaryDirectory() as folder:
        file, copy = _own_copy(source, Path(folder), architecture)
        named = {} if file.network is None else file.network.paths
        paths = named or {name: (name,) for name in model.graph.shapes}
        compared = compared_layers(model, paths)
        layers = {name: paths[name] for name in compared}
        logits = logits_in_keras(model, paths[model.graph.output])
        keras = _ask(model, file, copy, pixels, logits, layers)
    ours = layer_outputs(model, torch.from_numpy(pixels), compared)
    parities = [_layer_parity(name, ours[name], keras.layers[name]) for name in compared]
    # Of Keras's own logits: a softmax turns what rounding leaves of large ones into much more.
    kind = model.graph[model.graph.output].kind
    answer = torch.from_numpy(keras.logits).double()
    if logits.without_activation:
        answer = kind.activation.apply(answer)
    parities.append(_layer_parity(ANSWER, answer, keras.outputs))
    reference = Reference(pixels, of_two_classes(keras.logits))
    return KerasParity(keras.by.split()[1], tuple(parities), compare_logits(model, reference))


def logits_in_keras(model: Network, path: Sequence[str]) -> Logits:
    """Where the network's logits are in Keras. path: of the layer that gives them."""
    output = model.graph.output
    changed = model.computed_kind(output) != model.graph[output].kind
    return Logits(tuple(path), without_activation=changed)


def of_two_classes(logits: NDArray[Any]) -> NDArray[Any]:
    """Logits (images, classes); of one unit with a sigmoid those of two classes, the first 0."""
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
    """What Keras makes of a file and computes from the pixels."""
    here = installed_libraries()
    _check_stock(file)
    first_2 = file.format == "h5" and not file.keras_version.startswith("3")
    asked = [name for name in (KERAS_2_FIRST if first_2 else KERAS_3_FIRST) if name in here]
    # Keras goes by the ending of a name, people do not.
    known = copy.rename(copy.with_name(f"network.{file.format}"))
    images = _keras_images(model, pixels.astype(np.float64))
    if model.dtype != torch.float64:
        images = images.astype(np.float32)
    cannot: InputError | None = None
    for library in asked:
        try:
            return ask_keras(
                library,
                known,
                [images],
                architecture=_architecture(model, file),
                logits=logits,
                layers=layers,
                called=file.path,
            )
        except InputError as error:
            cannot = cannot or error
    assert cannot is not None
    raise cannot


def _keras_images(network: Network, pixels: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """What Keras's network reads of pixel values 0–255, (images, channels, height, width): the
    same as ours, with the channels last."""
    preprocessing, scaled = network.pixel_preprocessing, pixels
    if preprocessing.only_scales:
        scaled = np.multiply(pixels, preprocessing.pixel_scale, dtype=pixels.dtype)
    else:
        channels = preprocessing.of_channels(list(pixels.swapaxes(0, 1)))
        scaled = np.stack(channels, axis=1)
    return scaled.transpose(0, 2, 3, 1)


def _own_copy(source: Path, folder: Path, architecture: Path | None) -> tuple[KerasFile, Path]:
    """A copy of a file, and what read_keras_file finds in it: what Keras loads is what was read,
    whatever happens to the file meanwhile."""
    content = source.read_bytes()
    copy = folder / "network"
    copy.write_bytes(content)
    file = read_keras_file(source, architecture)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise InputError(source, "changed while it was read", "Start again")
    return file, copy


def _architecture(model: Network, file: KerasFile) -> str | None:
    """Keras's JSON of the network of a file of weights alone: as it is told; else ours, with what
    Keras counts first in its order of counting. None of a whole model."""
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
    """Raises InputError where the configuration names anything that real Keras may not build."""
    if file.network is None:
        return
    place = argument("against_keras")
    if any(layer.in_pruning_wrapper for layer in file.network.flat.layers):
        raise InputError(place, "real Keras does not load a PruneLowMagnitude wrapper", STRIP)
    for module, class_name in sorted(file.objects, key=str):
        known = class_name in STOCK_LAYERS | STOCK_OBJECTS
        if not (known and _is_keras_module(module)):
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
    """Run a file that this package has just written in every Keras that is installed.

    network: one that it holds. batches: (batch, channels, height, width), pixel values 0–255.
    whole_answer: whether nothing but the model's answer is wanted, as of a GoodNet.
    Raises InputError where no Keras is installed, or one cannot run the file.
    """
    images = [_keras_images(network, batch) for batch in batches]
    weights_alone = path.name.endswith(".weights.h5")
    architecture = json.dumps(model_config(network)) if weights_alone else None
    logits = Logits() if whole_answer else logits_in_keras(network, (network.graph.output,))
    for library in installed_libraries():
        yield ask_keras(library, path, images, architecture=architecture, logits=logits)
