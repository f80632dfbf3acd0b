"""What real Keras computes from a file, layer by layer, beside what we do.

Keras gets the *file*, so that a mistake in our reading of it shows. A model's file goes to its own
`load_model`, where the file holds nothing but stock layers, as read_keras_file has found them; a
file of weights is loaded by its own `load_weights` into a network of our configuration. Files
that read_keras_file refuses are refused here too, and never reach Keras.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ytf_torch.convert.keras_config import STRIP
from ytf_torch.convert.keras_file import KerasFile, read_keras_file
from ytf_torch.convert.keras_graph import dense_order
from ytf_torch.convert.keras_process import KerasAnswer, ask_keras, installed_libraries
from ytf_torch.convert.keras_writer import functional_config
from ytf_torch.convert.parity import Parity, Reference, compare_logits
from ytf_torch.errors import InputError, argument
from ytf_torch.network.module import Network

# Wider than the logits' tolerance: what rounding leaves of a hidden layer is measured against an
# output in which large terms have cancelled. A wrong layout differs by orders of magnitude more.
LAYER_TOLERANCE = 1e-5
# Keras 2 loads all of its own HDF5 files, Keras 3 all of its own format.
PREFERRED = {"h5": ("tf_keras", "keras"), "weights.h5": ("keras", "tf_keras")}
PREFERRED["keras"] = PREFERRED["weights.h5"]
# The model's answer, after its last activation, among the outputs that are compared.
ANSWER = "answer"
# All that a configuration may name where Keras is to build it: nothing of this opens a file or
# calls a function of the configuration's choice.
STOCK_LAYERS = frozenset(
    {
        *("InputLayer", "Model", "Functional", "Sequential"),
        *("Conv1D", "Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "Dense"),
        *("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D"),
        *("GlobalMaxPooling1D", "GlobalMaxPooling2D"),
        *("GlobalAveragePooling1D", "GlobalAveragePooling2D"),
        *("Flatten", "Reshape", "Permute", "ZeroPadding2D", "Cropping2D", "UpSampling2D"),
        *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"),
        *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "ThresholdedReLU"),
        *("BatchNormalization", "LayerNormalization", "GroupNormalization"),
        *("Rescaling", "Normalization", "Cast"),
        *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
        *("AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization"),
        *("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast"),
        *("RandomBrightness", "RandomHue", "RandomShear", "RandomColorJitter", "RandomGrayscale"),
        *("RandomErasing", "RandomGaussianBlur", "RandomInvert", "RandomPerspective"),
        *("RandomElasticTransform", "RandAugment", "AugMix", "MixUp", "CutMix"),
    }
)
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


def compared_layers(model: Network) -> tuple[str, ...]:
    """The layers whose outputs are compared: those that have weights, and their poolings, in
    order; Keras may have chosen the names of the others. The last one ends in logits here."""
    graph = model.graph
    return tuple(
        layer.name
        for layer in graph.layers
        if layer.name != graph.output and (graph.weights(layer.name) or layer.kind.largest)
    )


def layer_outputs(model: Network, pixels: Tensor) -> dict[str, Tensor]:
    """Output of every layer that is a module, under its Keras name."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:  # noqa: ANN401
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[name] = output

        return hook

    handles = [
        model.layer(name).register_forward_hook(keep(name)) for name in compared_layers(model)
    ]
    try:
        with torch.inference_mode():
            model(pixels)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def compare_with_keras(
    model: Network, source: Path, images: NDArray[np.generic] | None = None
) -> KerasParity:
    """Run Keras and the model on the same images and compare every layer, and the answer.

    images: (images, 3, H, W), pixel values 0–255; random ones by default.
    Raises InputError where Keras is not installed, cannot read the file, or may not be given it.
    """
    pixels = noise_images(model) if images is None else images
    keras = _ask(model, source, pixels)
    ours = layer_outputs(model, torch.from_numpy(pixels))
    named = compared_layers(model)
    layers = [_layer_parity(name, ours[name], keras.layers[name]) for name in named]
    # Of Keras's own logits: a softmax turns what rounding leaves of large ones into much more.
    activation = model.graph[model.graph.output].kind.activation
    answer = activation.apply(torch.from_numpy(keras.logits).double())
    layers.append(_layer_parity(ANSWER, answer, keras.outputs))
    logits = compare_logits(model, Reference(pixels, keras.logits, model.pixel_scale))
    return KerasParity(keras.by.split()[1], tuple(layers), logits)


def _layer_parity(name: str, ours: Tensor, theirs: NDArray[Any]) -> LayerParity:
    keras = torch.from_numpy(theirs).double()
    difference = float((ours.double() - keras).abs().max()) if ours.shape == keras.shape else np.inf
    return LayerParity(name, float(keras.abs().max()), difference)


def _ask(model: Network, source: Path, pixels: NDArray[np.generic]) -> KerasAnswer:
    """What Keras makes of a file and computes from the pixels."""
    here = installed_libraries()
    with tempfile.TemporaryDirectory() as folder:
        file, named = _own_copy(source, Path(folder))
        _check_stock(file)
        # Keras goes by the ending of a name, people do not.
        known = named.rename(named.with_name(f"network.{file.format}"))
        scaled = pixels.astype(np.float64) * model.pixel_scale
        if model.dtype != torch.float64:
            scaled = scaled.astype(np.float32)
        architecture = _architecture(model, file) if file.model is None else None
        failed: list[InputError] = []
        # Keras 2 does not load the HDF5 files of Keras 3, nor Keras 3 all of Keras 2.
        for library in (name for name in PREFERRED[file.format] if name in here):
            try:
                return ask_keras(
                    library,
                    known,
                    [scaled.transpose(0, 2, 3, 1)],
                    architecture=architecture,
                    holder=file.holder,
                    layers=compared_layers(model),
                    called=source,
                )
            except InputError as error:
                failed.append(error)
        raise failed[0]


def _own_copy(source: Path, folder: Path) -> tuple[KerasFile, Path]:
    """A copy of a file, and what read_keras_file finds in it: what Keras loads is what was read,
    whatever happens to the file meanwhile."""
    content = source.read_bytes()
    copy = folder / "network"
    copy.write_bytes(content)
    file = read_keras_file(source)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise InputError(source, "changed while it was read", "Start again")
    return file, copy


def _architecture(model: Network, file: KerasFile) -> dict[str, Any]:
    """The configuration of a file of weights alone: ours, and what Keras counts first in its order
    of counting."""
    config, order = functional_config(model), dense_order(file)
    for layer in config["layers"]:
        if layer["class_name"] == "Add":
            (sources,) = layer["inbound_nodes"]
            sources.sort(key=lambda source: order.index(source[0]))
    return config


def _check_stock(file: KerasFile) -> None:
    """Raises InputError where the configuration names anything that real Keras may not build."""
    if file.model is None:
        return
    place = argument("against_keras")
    if any(layer.in_pruning_wrapper for layer in file.model.layers):
        raise InputError(place, "real Keras does not load a PruneLowMagnitude wrapper", STRIP)
    for module, class_name in sorted(file.objects, key=str):
        known = class_name in STOCK_LAYERS | STOCK_OBJECTS
        if not (known and _is_keras_module(module)):
            found = class_name if module is None else f"{class_name} of {module}"
            raise InputError(place, f"real Keras is not given a configuration that has {found}")


def _is_keras_module(module: str | None) -> bool:
    return module is None or module.split(".")[0] in ("keras", "tf_keras")


def run_keras(
    path: Path, network: Network, batches: list[NDArray[np.floating[Any]]]
) -> Iterator[KerasAnswer]:
    """Run a file that this package has just written in every Keras that is installed.

    network: one that it holds. batches: (batch, 3, height, width), pixel values 0–255.
    Raises InputError where no Keras is installed, or one cannot run the file.
    """
    images = [
        np.multiply(batch, network.pixel_scale, dtype=batch.dtype).transpose(0, 2, 3, 1)
        for batch in batches
    ]
    weights_alone = path.name.endswith(".weights.h5")
    architecture = functional_config(network) if weights_alone else None
    for library in installed_libraries():
        yield ask_keras(library, path, images, architecture=architecture)
