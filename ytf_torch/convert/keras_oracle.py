"""What real Keras computes from a file, layer by layer. Runs in a process of its own.

Keras builds the network itself from a plain list of its layers and loads the weights itself, by its
own rules for that very file; the configuration in the file, which could carry code (CVE-2025-9905),
never reaches it. Files that read_keras_file refuses are refused here too: a network that computes
in less than float32 is not compared as if it did not.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ytf_torch.convert.keras_file import KerasFile, read_keras_file
from ytf_torch.convert.keras_graph import dense_order
from ytf_torch.convert.parity import Parity, Reference, compare_logits
from ytf_torch.disk.interpreter import python_command
from ytf_torch.errors import InputError, argument, how_to_install
from ytf_torch.network.graph import MODULES
from ytf_torch.network.module import Network

# Wider than the logits' tolerance: what rounding leaves of a hidden layer is measured against an
# output in which large terms have cancelled. A wrong layout differs by orders of magnitude more.
LAYER_TOLERANCE = 1e-5
NO_KERAS = 3
# Keras 2 matches the layers of its own HDF5 files by name, Keras 3 knows all of its own format.
LIBRARIES = {"h5": ("tf_keras", "keras"), "weights.h5": ("keras", "tf_keras")}
LIBRARIES["keras"] = LIBRARIES["weights.h5"]
SECONDS = 600


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
    """A converted model beside live Keras: every layer in order, and the logits."""

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
    """The layers whose outputs are compared: those that Keras files give a name, in order."""
    return tuple(layer.name for layer in model.graph.layers if layer.is_module)


def layer_outputs(model: Network, pixels: Tensor) -> dict[str, Tensor]:
    """Output of every layer that is a module, under its Keras name."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:  # noqa: ANN401
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[name] = output

        return hook

    handles = [
        model.get_submodule(name).register_forward_hook(keep(name))
        for name in compared_layers(model)
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
    """Run Keras and the model on the same images and compare every layer.

    images: (images, 3, H, W), pixel values 0–255; random ones by default.
    Raises InputError where Keras is not installed or cannot read the file.
    """
    pixels = noise_images(model) if images is None else images
    version, keras = _run_keras(model, source, pixels)
    ours = layer_outputs(model, torch.from_numpy(pixels))
    layers = []
    for name in compared_layers(model):
        theirs = torch.from_numpy(keras[name]).double()
        difference = (ours[name].double() - theirs).abs().max()
        layers.append(LayerParity(name, float(theirs.abs().max()), float(difference)))
    logits = compare_logits(model, Reference(pixels, keras["output"], model.pixel_scale))
    return KerasParity(version, tuple(layers), logits)


def _run_keras(
    model: Network, source: Path, pixels: NDArray[np.generic]
) -> tuple[str, dict[str, NDArray[Any]]]:
    """Keras's version and its outputs, channels first, computed in a process of its own."""
    scaled = pixels.astype(np.float64) * model.pixel_scale
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder, "request.npz"), Path(folder, "answer.npz")
        file = read_keras_file(source)
        network = _plain_network(model, file)
        np.savez(request, input=scaled.transpose(0, 2, 3, 1), network=json.dumps(network))
        python, surroundings = python_command()
        done = subprocess.run(
            [
                python,
                "-P",
                "-m",
                "ytf_torch.convert.keras_oracle",
                str(source),
                str(request),
                str(answer),
            ],
            env=os.environ
            | surroundings
            | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode == NO_KERAS:
            raise InputError(
                argument("against_keras"),
                "real Keras is not installed",
                how_to_install("keras"),
            )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(source, f"real Keras cannot run it ({reason[:200]})")
        with np.load(answer) as archive:
            outputs = {name: archive[name] for name in compared_layers(model)}
            return str(archive["keras_version"]), outputs


def _plain_network(model: Network, file: KerasFile) -> dict[str, Any]:
    """The network as JSON: each layer with its sizes, and all that decides how Keras loads it."""
    plain, order = [], dense_order(file)
    for layer in model.graph.layers:
        sizes: dict[str, Any] = {"units": model.output_shape(layer.name)[0]}
        if layer.kind == "convolution":
            sizes["kernel"] = model.convolution(layer.name).kernel_size
        if layer.kind == "add":
            sizes["inputs"] = sorted(layer.inputs, key=order.index)
        plain.append(asdict(layer) | sizes)
    return {
        "dtype": str(model.dtype).split(".")[1],
        "layers": plain,
        "holder": file.holder,
        "format": file.format,
    }


def _answer(source: Path, request: Path, answer: Path) -> None:
    with np.load(request) as archive:
        inputs, network = archive["input"], json.loads(str(archive["network"]))
    keras = _library(LIBRARIES[network["format"]])
    keras.backend.set_floatx(network["dtype"])
    entry = keras.Input(inputs.shape[1:], name="input")
    values: dict[str, Any] = {}
    for layer in network["layers"]:
        found = [values[name] for name in layer["inputs"]]
        make = _keras_layer(keras, layer)
        values[layer["name"]] = (
            entry if make is None else make(*found) if len(found) == 1 else make(found)
        )
    _load_weights(keras, network, entry, values[network["layers"][-1]["name"]], source)
    outputs = {
        layer["name"]: values[layer["name"]]
        for layer in network["layers"]
        if layer["kind"] in MODULES
    }
    model = keras.Model(entry, outputs)
    found = model.predict(inputs.astype(network["dtype"]), batch_size=32, verbose=0)
    channels_first = {
        name: array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
        for name, array in found.items()
    }
    np.savez(answer, keras_version=keras.__version__, **channels_first)


def _library(names: tuple[str, ...]) -> Any:  # noqa: ANN401
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    sys.exit(NO_KERAS)


def _load_weights(
    keras: Any,  # noqa: ANN401
    network: dict[str, Any],
    entry: Any,  # noqa: ANN401
    logits: Any,  # noqa: ANN401
    source: Path,
) -> None:
    """Have Keras load a file into all layers between two tensors."""
    model = keras.Model(entry, logits, name=network["holder"])
    if network["holder"] is not None:
        outer = keras.Input(entry.shape[1:])
        model = keras.Model(outer, model(outer))
    # Keras goes by the ending of a name, people do not.
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder, f"network.{network['format']}")
        shutil.copyfile(source, named)
        # By name, Keras passes over what it does not find in silence.
        by_name = {"by_name": True} if network["format"] == "h5" else {}
        model.set_weights([np.full(array.shape, np.nan) for array in model.get_weights()])
        model.load_weights(str(named), **by_name)
    if any(np.isnan(array).any() for array in model.get_weights()):
        sys.exit("it does not find the weights of every layer by name")


def _keras_layer(keras: Any, layer: dict[str, Any]) -> Any:  # noqa: ANN401
    """Keras's layer for one of ours; None for the input."""
    layers, kind, name = keras.layers, layer["kind"], layer["name"]
    if kind == "convolution":
        return layers.Conv2D(layer["units"], layer["kernel"], activation="relu", name=name)
    if kind == "pool":
        return layers.MaxPooling2D((2, 2), name=name)
    if kind == "dense":
        return layers.Dense(layer["units"], name=name)
    if kind == "flatten":
        return layers.Flatten()
    if kind == "add":
        return layers.Add()
    return layers.Activation("relu") if kind == "relu" else None


if __name__ == "__main__":
    _answer(*map(Path, sys.argv[1:4]))
