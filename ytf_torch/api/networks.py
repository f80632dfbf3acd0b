"""Networks from Python: read them, ask them, evaluate them, hand them on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ytf_torch.convert import export as exports
from ytf_torch.convert.model_file import read_model as read_checkpoint
from ytf_torch.defences import evaluation
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.errors import mismatch
from ytf_torch.faces.face_set import FaceSet, open_faces
from ytf_torch.metrics import classes_of
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import parse_pixel_scale
from ytf_torch.progress import Track, untracked

Faces = str | Path | FaceSet
Model = str | Path | Checkpoint
IMAGES_AT_ONCE = 256


def read_model(
    model: Model,
    pixel_scale: float | str | None = None,
    architecture: str | Path | None = None,
) -> Checkpoint:
    """A network with its provenance, from a file of ytf-convert or a Keras file of any kind.

    pixel_scale: what pixel values 0–255 are multiplied by, 1 or 1/255; Keras files that ytf-torch
    did not write do not tell it, and 1 is taken where nothing is said. architecture: of the network
    whose weights alone a Keras file holds: the JSON of Keras's model.to_json(), or any model file
    of the same network. A Checkpoint is handed back as it is.
    Raises InputError where the file is no network, or contradicts the pixel scale.

    >>> read_model("bd_net.h5", pixel_scale="1").provenance.source_file
    'bd_net.h5'
    """
    if isinstance(model, Checkpoint):
        return model
    scale = None if pixel_scale is None else parse_pixel_scale(str(pixel_scale))
    told = None if architecture is None else Path(architecture)
    return read_checkpoint(Path(model), scale, told)


def open_face_set(faces: Faces, network: Network) -> FaceSet:
    """A face set for a network, from a lab-format file or as it is.

    Raises InputError where its faces or labels do not fit the network.
    """
    if not isinstance(faces, FaceSet):
        return open_faces(Path(faces), network.input_shape, network.classes)
    if faces.input_shape != network.input_shape:
        raise mismatch("faces", network.input_shape, faces.input_shape)
    if int(faces.labels.max()) >= network.classes or int(faces.labels.min()) < 0:
        raise mismatch("labels", f"classes of 0…{network.classes - 1}", int(faces.labels.max()))
    return faces


def open_face_sets(faces: Faces | Sequence[Faces], network: Network) -> tuple[FaceSet, ...]:
    """Face sets as `open_face_set` opens them, of which a single one may be given alone."""
    given = [faces] if isinstance(faces, str | Path | FaceSet) else faces
    return tuple(open_face_set(one, network) for one in given)


def predict(network: nn.Module, pixels: ArrayLike | Tensor) -> NDArray[np.int64]:
    """The class that a network, or a GoodNet, answers for each face: (images,).

    pixels: (images, 3, height, width), values 0–255, a NumPy array or a tensor. GoodNet answers N,
    the number of classes, where it flags a face; a network whose logits are NaN or infinite answers
    −1.

    >>> ytf_torch.predict(network, pixels)[:5]
    array([0, 0, 0, 4, 0])
    """
    faces = pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.asarray(pixels))
    device = next(network.parameters()).device
    with torch.inference_mode():
        parts = [network(part.to(device)) for part in torch.split(faces, IMAGES_AT_ONCE)]
        # GoodNet's scores are −inf by design for what it does not answer.
        answer = _highest if isinstance(network, GoodNet) else classes_of
        parts = list(map(answer, parts))
    answers: NDArray[np.int64] = torch.cat(parts).cpu().numpy()
    return answers


def _highest(scores: Tensor) -> Tensor:
    return scores.argmax(1)


def evaluate(
    model: Model,
    clean_test: Faces | None = None,
    poisoned_tests: Faces | Sequence[Faces] = (),
    *,
    repaired: Model | None = None,
    pixel_scale: float | str | None = None,
    track: Track = untracked,
) -> evaluation.Evaluation:
    """What a network is worth: its clean accuracy and attack success rate, each with its interval.

    repaired: B′, which is evaluated too, alone and with the network as GoodNet. Faces are
    lab-format files, or arrays by faces_of; triggered ones are labelled with the target.
    Raises InputError where a file, an array or an argument cannot be used.

    >>> ytf_torch.evaluate("bd_net.h5", "test.h5").model.clean_accuracy
    100.00 % (86.20–100.00), 24 of 24
    """
    checkpoint = read_model(model, pixel_scale)
    network = checkpoint.model
    copy = None
    if repaired is not None:
        copy = read_model(repaired, checkpoint.provenance.pixel_scale).model
    return evaluation.evaluate(
        network,
        None if clean_test is None else open_face_set(clean_test, network),
        open_face_sets(poisoned_tests, network),
        copy,
        track=track,
    )


def export(
    model: Model,
    path: str | Path,
    *,
    goodnet: Model | None = None,
    pixel_scale: float | str | None = None,
    against_keras: bool = False,
) -> exports.Export:
    """Write a network as .h5, .weights.h5, .keras, .onnx, .pt2 or .safetensors, and check the file.

    goodnet: B′, to write the GoodNet of both as one graph. What is handed back says what was
    checked; where a check fails nothing is left, and `held` is false.
    Raises InputError where the ending names no format, or what it needs is not installed.

    >>> ytf_torch.export("bd_net.h5", "bd_net.onnx").held
    True
    """
    checkpoint = read_model(model, pixel_scale)
    subject = exports.Subject(checkpoint.model, checkpoint)
    if goodnet is not None:
        repaired = read_model(goodnet, checkpoint.provenance.pixel_scale)
        both = GoodNet(checkpoint.model, repaired.model)
        subject = exports.Subject(both, checkpoint, repaired)
    return exports.export(subject, Path(path), against_keras=against_keras)
