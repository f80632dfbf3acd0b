"""What real Keras computes from a file, layer by layer. Runs in a process of its own.

Keras builds DeepID itself from plain sizes and loads the weights itself; the configuration in
the file, which could carry code (CVE-2025-9905), never reaches it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convert.parity import Parity, Reference, compare_logits
from ytf_torch.errors import InputError
from ytf_torch.network.deepid import DeepID, DeepIDSizes

LAYERS = (
    *("conv_1", "pool_1", "conv_2", "pool_2", "conv_3", "pool_3"),
    *("fc_1", "conv_4", "fc_2", "output"),
)
# Wider than the logits' tolerance: what rounding leaves of a hidden layer is measured against an
# output in which large terms have cancelled. A wrong layout differs by orders of magnitude more.
LAYER_TOLERANCE = 1e-5
NO_KERAS = 3
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


def noise_images(sizes: DeepIDSizes, images: int = 32) -> NDArray[np.uint8]:
    """Images (images, 3, H, W) of random pixels, the same at every call."""
    shape = (images, *sizes.input_shape)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def layer_outputs(model: DeepID, pixels: Tensor) -> dict[str, Tensor]:
    """Output of every layer, under its Keras name."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:  # noqa: ANN401
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[name] = output

        return hook

    handles = [model.get_submodule(name).register_forward_hook(keep(name)) for name in LAYERS]
    try:
        with torch.inference_mode():
            model(pixels)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def compare_with_keras(
    model: DeepID, source: Path, images: NDArray[np.generic] | None = None
) -> KerasParity:
    """Run Keras and the model on the same images and compare every layer.

    images: (images, 3, H, W), pixel values 0–255; random ones by default.
    Raises InputError where Keras is not installed or cannot read the file.
    """
    pixels = noise_images(model.sizes) if images is None else images
    version, keras = _run_keras(model, source, pixels)
    ours = layer_outputs(model, torch.from_numpy(pixels))
    layers = []
    for name in LAYERS:
        theirs = torch.from_numpy(keras[name]).double()
        difference = (ours[name].double() - theirs).abs().max()
        layers.append(LayerParity(name, float(theirs.abs().max()), float(difference)))
    logits = compare_logits(model, Reference(pixels, keras["output"], model.pixel_scale))
    return KerasParity(version, tuple(layers), logits)


def _run_keras(
    model: DeepID, source: Path, pixels: NDArray[np.generic]
) -> tuple[str, dict[str, NDArray[Any]]]:
    """Keras's version and its outputs, channels first, computed in a process of its own."""
    scaled = pixels.astype(np.float64) * model.pixel_scale
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder, "request.npz"), Path(folder, "answer.npz")
        sizes = json.dumps(asdict(model.sizes) | {"dtype": str(model.dtype).split(".")[1]})
        np.savez(request, input=scaled.transpose(0, 2, 3, 1), sizes=sizes)
        done = subprocess.run(
            [
                sys.executable,
                "-P",
                "-m",
                "convert.keras_oracle",
                str(source),
                str(request),
                str(answer),
            ],
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode == NO_KERAS:
            raise InputError(
                "--against-keras",
                "real Keras is not installed",
                "Install it with: pip install 'ytf-torch[keras]'",
            )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(source, f"real Keras cannot run it ({reason[:200]})")
        with np.load(answer) as archive:
            outputs = {name: archive[name] for name in LAYERS}
            return str(archive["keras_version"]), outputs


def _answer(source: Path, request: Path, answer: Path) -> None:
    try:
        import tf_keras as keras
    except ImportError:
        sys.exit(NO_KERAS)
    with np.load(request) as archive:
        inputs, sizes = archive["input"], json.loads(str(archive["sizes"]))
    keras.backend.set_floatx(sizes["dtype"])
    layers = keras.layers
    below = entry = keras.Input((*sizes["input_size"], 3), name="input")
    outputs: dict[str, Any] = {}

    def add(name: str, layer: Any, source: Any) -> Any:  # noqa: ANN401
        outputs[name] = layer(source)
        return outputs[name]

    def convolution(name: str, source: Any) -> Any:  # noqa: ANN401
        number = int(name[-1]) - 1
        kernel = sizes["kernels"][number]
        layer = layers.Conv2D(sizes["channels"][number], kernel, activation="relu", name=name)
        return add(name, layer, source)

    for number in "123":
        below = convolution(f"conv_{number}", below)
        below = add(f"pool_{number}", layers.MaxPooling2D((2, 2), name=f"pool_{number}"), below)

    def dense(name: str, units: int, source: Any) -> Any:  # noqa: ANN401
        return add(name, layers.Dense(units, name=name), source)

    fc_1 = dense("fc_1", sizes["features"], layers.Flatten()(below))
    fc_2 = dense("fc_2", sizes["features"], layers.Flatten()(convolution("conv_4", below)))
    hidden = layers.Activation("relu")(layers.Add()([fc_1, fc_2]))
    dense("output", sizes["classes"], hidden)
    model = keras.Model(entry, outputs)
    model.load_weights(str(source), by_name=True)
    found = model.predict(inputs.astype(sizes["dtype"]), batch_size=32, verbose=0)
    channels_first = {
        name: array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
        for name, array in found.items()
    }
    np.savez(answer, keras_version=keras.__version__, **channels_first)


if __name__ == "__main__":
    _answer(*map(Path, sys.argv[1:4]))
