"""Detecting triggered faces: an answer for each face in photos and lab-format files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.detectors.alarm import Alarm, suspicions
from ytf_torch.device import exact_float32
from ytf_torch.disk.reading import is_image_set
from ytf_torch.errors import InputError
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.input_files import Unreadable, input_files
from ytf_torch.images.opening import open_unlabelled
from ytf_torch.images.photos import read_photo
from ytf_torch.metrics import disagree
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import NO_CLASS, classes_of


@dataclass(frozen=True)
class Answer:
    """What the networks say of one face: classes of G, B and B′; G's is N where it is flagged, the
    others' NO_CLASS where their logits are not finite.

    input: the file, with the image's index behind it where the file holds many. backdoored: whether
    it is flagged. score: how suspicious a detector finds it; None where GoodNet alone is asked.
    """

    input: str
    goodnet: int
    badnet: int
    pruned: int
    backdoored: bool
    score: float | None = None

    @property
    def not_finite(self) -> bool:
        """Whether the logits of B or of B′ are NaN or infinite; then it is flagged."""
        return NO_CLASS in (self.badnet, self.pruned)


def detect(
    badnet: Network, pruned: Network, inputs: Iterable[Path | ImageSet], alarm: Alarm | None = None
) -> Iterator[Answer | Unreadable]:
    """One answer for each face in photos, lab-format HDF5 files, folders of both and face sets.

    badnet, pruned: B and B′ on one device, with the same classes and input size.
    alarm: says which faces are flagged; the others get the class of B′. Without it GoodNet answers:
    a face is flagged where B and B′ differ.
    Inputs are answered in the order given, folders by file name.
    """
    candidate = Candidate("repaired", pruned, ())
    found = _faces(inputs, badnet)
    while group := list(islice(found, BATCH_SIZE)):
        faces = [item for item in group if not isinstance(item, Unreadable)]
        answers = iter(_answers(badnet, candidate, faces, alarm) if faces else ())
        for item in group:
            yield item if isinstance(item, Unreadable) else next(answers)


def _answers(
    badnet: Network, candidate: Candidate, faces: list[tuple[str, Tensor]], alarm: Alarm | None
) -> Iterator[Answer]:
    pixels = torch.stack([face for _, face in faces]).to(badnet.device)
    scores: list[float] | list[None] = [None] * len(faces)
    with exact_float32(), torch.inference_mode():
        b, repaired = classes_of(badnet(pixels)), classes_of(candidate.network(pixels))
        if alarm is None:
            flagged = disagree(b, repaired)
        else:
            found = suspicions(alarm.detector, badnet, candidate, pixels)
            found = found.masked_fill((b == NO_CLASS) | (repaired == NO_CLASS), torch.inf)
            flagged, scores = found > alarm.threshold, found.tolist()
        g = repaired.masked_fill(flagged, badnet.classes)
    columns = (g.tolist(), b.tolist(), repaired.tolist(), flagged.tolist(), scores)
    for (name, _), *answer in zip(faces, *columns, strict=True):
        yield Answer(name, *answer)


def _faces(
    inputs: Iterable[Path | ImageSet], model: Network
) -> Iterator[tuple[str, Tensor] | Unreadable]:
    for given in inputs:
        if isinstance(given, ImageSet):
            yield from _each(given)
        else:
            yield from _faces_in([given], model)


def _each(faces: ImageSet) -> Iterator[tuple[str, Tensor]]:
    images = 0
    for batch in faces.batches():
        for face in batch.pixels.to(torch.float32):
            yield f"{faces.path}[{images}]", face
            images += 1


def _faces_in(inputs: Iterable[Path], model: Network) -> Iterator[tuple[str, Tensor] | Unreadable]:
    shape = model.input_shape
    for path in input_files(inputs):
        if isinstance(path, Unreadable):
            yield path
            continue
        try:
            if is_image_set(path):
                yield from _each(open_unlabelled(path, shape))
            else:
                yield str(path), read_photo(path, shape).to(torch.float32)
        except InputError as error:
            yield Unreadable(str(path), str(error))
