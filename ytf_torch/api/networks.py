"""Networks from Python: read them, ask them, hand them on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ytf_torch.api.inputs import (
    Model,
    PreprocessingForm,
    kind_of,
    model_given,
    shape_given,
)
from ytf_torch.convert import export as exports
from ytf_torch.convert.endings import ending_of
from ytf_torch.convert.model_file import read_model as read_checkpoint
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.device import exact_float32
from ytf_torch.errors import InputError, argument, mismatch
from ytf_torch.images.arrays import numbers_of, pixels_of
from ytf_torch.images.layout import misshapen
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import Preprocessing, asked_preprocessing
from ytf_torch.network.wrapped import wrapped
from ytf_torch.predicted_class import classes_of
from ytf_torch.run.pair import Opened, open_network, open_pair

IMAGES_AT_ONCE = 256


def read_model(
    model: Model,
    pixel_scale: float | str | None = None,
    architecture: str | Path | None = None,
    *,
    preprocessing: PreprocessingForm | None = None,
) -> Checkpoint:
    """A network with its provenance, from a file of ytf-convert or a Keras file of any kind.

    pixel_scale: what pixel values 0–255 are multiplied by, 1 or 1/255; Keras files that ytf-torch
    did not write do not record it, and 1 is assumed where nothing is said. architecture: of the
    network whose weights alone a Keras file holds: the JSON of Keras's model.to_json(), or any
    model file of the same network. preprocessing: instead of a pixel scale where the network reads
    something else: "tf", "caffe" or "torch", as Keras's preprocess_input calls them, or a
    Preprocessing. A Checkpoint is handed back as it is.
    Raises InputError where the file is no network, contradicts the pixel scale, or 1 was only
    assumed and does not seem to suit the network.

    >>> read_model("bd_net.h5", pixel_scale="1").provenance.source_file
    'bd_net.h5'
    >>> read_model("bd_net.h5", preprocessing="tf").model.pixel_preprocessing.scale
    0.00784313725490196
    """
    asked = asked_preprocessing(pixel_scale, preprocessing)
    if architecture is not None and not isinstance(model, Checkpoint):
        return read_checkpoint(Path(model), asked, Path(architecture))
    return open_network(model_given(model), asked).badnet


def wrap(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    pixel_scale: float | str | None = None,
    preprocessing: PreprocessingForm | None = None,
) -> Checkpoint:
    """A PyTorch module of your own, such as a ResNet, as a network that `evaluate`, `scan`,
    `repair`, `compare` and `detect` take; what is repaired comes back as a module of your class.

    module: built by you, with its weights loaded; it takes (batch, channels, height, width) and
    returns logits (batch, classes), or one logit of two classes. It is copied. input_shape:
    (channels, height, width). pixel_scale: what pixel values 0–255 are multiplied by before it,
    by default 1/255, for a module trained on what ToTensor gives. preprocessing: "torch", in place
    of pixel_scale, for one trained on images normalised as torchvision's pretrained networks are.
    Its layers are not known, so it cannot be pruned, converted to Keras or audited as a file.
    Raises InputError where the module cannot be run on such images, or returns no logits.

    >>> parts = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.AdaptiveAvgPool2d(1)
    >>> own = torch.nn.Sequential(*parts, torch.nn.Flatten(), torch.nn.Linear(8, 7))
    >>> wrapped = ytf_torch.wrap(own, (3, 55, 47))
    >>> wrapped.model.classes, wrapped.model.module
    (7, Sequential(...))
    """
    if not isinstance(module, nn.Module):
        raise mismatch(argument("module"), "a PyTorch module", kind_of(module))
    if isinstance(module, Network | GoodNet):
        problem = f"{kind_of(module)} of ytf-torch is a network already"
        raise InputError(argument("module"), problem, "Give the Checkpoint that it came with")
    asked = asked_preprocessing(pixel_scale, preprocessing) or Preprocessing(1 / 255)
    return wrapped(module, shape_given(input_shape), asked)


def predict(network: nn.Module, pixels: ArrayLike | Tensor) -> NDArray[np.int64]:
    """The class that a network, or a GoodNet, answers for each face: (images,).

    pixels: (images, 3, height, width), values 0–255, a NumPy array or a tensor. GoodNet answers N,
    the number of classes, where it flags a face; a network whose logits are NaN or infinite answers
    −1.
    Raises InputError where pixels have another shape, or values that are not 0–255.

    >>> ytf_torch.predict(network, pixels)[:5]
    array([0, 0, 0, 4, 0])
    """
    if not isinstance(network, nn.Module):
        remedy = "A Checkpoint has it as its .model"
        raise mismatch(argument("network"), "a Network or a GoodNet", kind_of(network), remedy)
    values = numbers_of(pixels, "pixels")
    asked = network.badnet if isinstance(network, GoodNet) else network
    if isinstance(asked, Network) and values.shape[1:] != asked.input_shape:
        raise misshapen(argument("pixels"), values.shape, asked.input_shape, "pixels", "Give")
    faces, device = pixels_of(values), next(network.parameters()).device
    with exact_float32(), torch.inference_mode():
        scores = [network(part.to(device)) for part in torch.split(faces, IMAGES_AT_ONCE)]
        # GoodNet's scores are −inf by design for what it does not answer.
        answer = _highest if isinstance(network, GoodNet) else classes_of
        parts = list(map(answer, scores))
    answers: NDArray[np.int64] = torch.cat(parts).cpu().numpy()
    return answers


def _highest(scores: Tensor) -> Tensor:
    return scores.argmax(1)


def export(
    model: Model,
    path: str | Path,
    *,
    goodnet: Model | None = None,
    pixel_scale: float | str | None = None,
    preprocessing: PreprocessingForm | None = None,
    any_pair: bool = False,
    against_keras: bool = False,
) -> exports.Export:
    """Write a network as .h5, .weights.h5, .keras, .onnx, .pt2 or .safetensors, and check the file.

    goodnet: B′, to write the GoodNet of both as one graph. any_pair: take a B′ that does not seem
    to be made from B. What is handed back says what was checked, and `warnings` what speaks
    against the networks; where a check fails nothing is left, and `held` is false.
    Raises InputError where the ending names no format, what it needs is not installed, or both
    networks are no B and B′.

    >>> ytf_torch.export("bd_net.h5", "bd_net.onnx").held
    True
    """
    given, asked = model_given(model), asked_preprocessing(pixel_scale, preprocessing)
    ending_of(Path(path), goodnet=goodnet is not None)
    if goodnet is None:
        opened: Opened = open_network(given, asked)
        subject = exports.Subject(opened.badnet.model, opened.badnet)
    else:
        repaired = model_given(goodnet, "goodnet")
        opened = pair = open_pair(
            given, repaired, asked, any_pair=any_pair, names=("model", "goodnet")
        )
        both = GoodNet(pair.badnet.model, pair.repaired.model)
        subject = exports.Subject(both, pair.badnet, pair.repaired)
    found = exports.export(subject, Path(path), against_keras=against_keras)
    return replace(found, warnings=opened.doubts)
