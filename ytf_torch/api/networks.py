"""Read, wrap, run and export networks from Python."""

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
from ytf_torch.network.wrapped_module import wrapped
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
    """Read a network and its provenance from a file of ytf-convert or any kind of Keras file.

    model: a path, or a Checkpoint, which is returned unchanged. pixel_scale: factor on pixel values
    0–255, such as 1 or 1/255. Keras does not record it in its files; the default for those is 1.
    architecture: for a weights-only Keras file, the JSON of Keras's model.to_json() or any model
    file of the same network. preprocessing: in place of pixel_scale, "tf", "caffe" or "torch" (the
    modes of Keras's preprocess_input), or a Preprocessing.
    Raises InputError where the file contains no network, records another pixel scale, or the
    default of 1 does not seem to fit the network.

    >>> read_model("bd_net.h5", pixel_scale="1").provenance.source_file
    'bd_net.h5'
    >>> read_model("bd_net.h5", preprocessing="tf").model.pixel_preprocessing.scale
    0.00784313725490196
    """
    requested = asked_preprocessing(pixel_scale, preprocessing)
    if architecture is not None and not isinstance(model, Checkpoint):
        return read_checkpoint(Path(model), requested, Path(architecture))
    return open_network(model_given(model), requested).badnet


def wrap(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    pixel_scale: float | str | None = None,
    preprocessing: PreprocessingForm | None = None,
) -> Checkpoint:
    """Wrap your own PyTorch module, such as a ResNet, for `evaluate`, `scan`, `repair`, `compare`
    and `detect`. A repaired network contains a module of the same class.

    module: a module with its weights loaded: (batch, channels, height, width) → logits (batch,
    classes), or (batch, 1) for two classes. It is copied. input_shape: (channels, height, width).
    pixel_scale: factor on pixel values 0–255 before the module; by default 1/255, as for training
    with ToTensor. preprocessing: in place of pixel_scale, such as "torch" for the normalisation of
    torchvision's pretrained networks.
    The layers inside are unknown, so the network cannot be pruned, converted to Keras or audited.
    Raises InputError where the module cannot be run on such images, or does not return logits.

    >>> parts = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.AdaptiveAvgPool2d(1)
    >>> module = torch.nn.Sequential(*parts, torch.nn.Flatten(), torch.nn.Linear(8, 7))
    >>> wrapped = ytf_torch.wrap(module, (3, 55, 47))
    >>> wrapped.model.classes, wrapped.model.module
    (7, Sequential(...))
    """
    if not isinstance(module, nn.Module):
        remedy = "Create the module and load its weights into it first, with load_state_dict"
        raise mismatch(argument("module"), "a PyTorch module", kind_of(module), remedy)
    if isinstance(module, Network | GoodNet):
        problem = f"{kind_of(module)} of ytf-torch is a network already"
        raise InputError(argument("module"), problem, "Give the Checkpoint that it came with")
    requested = asked_preprocessing(pixel_scale, preprocessing) or Preprocessing(1 / 255)
    return wrapped(module, shape_given(input_shape), requested)


def predict(network: nn.Module, pixels: ArrayLike | Tensor) -> NDArray[np.int64]:
    """Predict the class of each image with a network or a GoodNet: (images,), int64.

    pixels: (images, channels, height, width), values 0–255, as a NumPy array or a tensor. GoodNet
    returns N, the number of classes, for flagged images; −1 stands for logits that are NaN or
    infinite.
    Raises InputError where pixels have another shape, or values outside 0–255.

    >>> ytf_torch.predict(network, pixels)[:5]
    array([0, 0, 0, 4, 0])
    """
    if not isinstance(network, nn.Module):
        remedy = "A Checkpoint has it as its .model"
        raise mismatch(argument("network"), "a Network or a GoodNet", kind_of(network), remedy)
    values = numbers_of(pixels, "pixels")
    reader = network.badnet if isinstance(network, GoodNet) else network
    if isinstance(reader, Network) and values.shape[1:] != reader.input_shape:
        raise misshapen(argument("pixels"), values.shape, reader.input_shape, "pixels", "Give")
    images, device = pixels_of(values), next(network.parameters()).device
    with exact_float32(), torch.inference_mode():
        scores = [network(part.to(device)) for part in torch.split(images, IMAGES_AT_ONCE)]
        # GoodNet's scores contain −inf by design, which classes_of would take for an overflow.
        predicted = _highest if isinstance(network, GoodNet) else classes_of
        parts = list(map(predicted, scores))
    classes: NDArray[np.int64] = torch.cat(parts).cpu().numpy()
    return classes


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
    """Write a network as .h5, .weights.h5, .keras, .onnx, .pt2 or .safetensors, and verify the
    file.

    goodnet: B′, to write the GoodNet of both as one graph. any_pair: accept a B′ that does not seem
    to be made from B. against_keras: also run Keras files in real Keras. The result lists the
    checks and, in `warnings`, suspected problems of the networks. If a check fails, `held` is False
    and no file is written.
    Raises InputError where the extension is unknown, a required package is not installed, or the
    two networks are not a B and its B′.

    >>> ytf_torch.export("bd_net.h5", "bd_net.onnx").held
    True
    """
    source, requested = model_given(model), asked_preprocessing(pixel_scale, preprocessing)
    ending_of(Path(path), goodnet=goodnet is not None)
    if goodnet is None:
        opened: Opened = open_network(source, requested)
        subject = exports.Subject(opened.badnet.model, opened.badnet)
    else:
        repaired = model_given(goodnet, "goodnet")
        opened = pair = open_pair(
            source, repaired, requested, any_pair=any_pair, names=("model", "goodnet")
        )
        both = GoodNet(pair.badnet.model, pair.repaired.model)
        subject = exports.Subject(both, pair.badnet, pair.repaired)
    result = exports.export(subject, Path(path), against_keras=against_keras)
    return replace(result, warnings=opened.doubts)
