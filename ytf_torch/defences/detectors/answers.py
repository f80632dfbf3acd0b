"""Detection: one answer for each image of photos, folders and image sets."""

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
    """The classes that G, B and B′ predict for one image, and whether it is flagged.

    input: the file, as "file[index]" for an image of a set. goodnet: the class of G, N for a
    flagged image. badnet, pruned: the classes of B and B′, NO_CLASS where the logits are not
    finite. backdoored: whether the image is flagged. score: the detector's score, higher is more
    suspicious; None without a detector.
    """

    input: str
    goodnet: int
    badnet: int
    pruned: int
    backdoored: bool
    score: float | None = None

    @property
    def not_finite(self) -> bool:
        """Whether logits of B or B′ are NaN or infinite. Such an image is flagged."""
        return NO_CLASS in (self.badnet, self.pruned)


def detect(
    badnet: Network, pruned: Network, inputs: Iterable[Path | ImageSet], alarm: Alarm | None = None
) -> Iterator[Answer | Unreadable]:
    """Yield one answer for each image in photos, HDF5 files, folders of both and image sets, and an
    Unreadable for each file that cannot be read.

    badnet, pruned: B and B′ on one device, with the same classes and input size.
    alarm: flags images; the others get the class of B′. Without it, images are flagged as GoodNet
    does, where B and B′ disagree.
    Answers come in the order of `inputs`, within a folder by file name.
    """
    candidate = Candidate("repaired", pruned, ())
    items = _read_images(inputs, badnet)
    while group := list(islice(items, BATCH_SIZE)):
        images = [item for item in group if not isinstance(item, Unreadable)]
        answers = iter(_answers(badnet, candidate, images, alarm) if images else ())
        # Unreadable files keep their place among the answers.
        for item in group:
            yield item if isinstance(item, Unreadable) else next(answers)


def _answers(
    badnet: Network, candidate: Candidate, images: list[tuple[str, Tensor]], alarm: Alarm | None
) -> Iterator[Answer]:
    """Answers for one batch. images: pairs of a name and pixels (C, H, W)."""
    pixels = torch.stack([image for _, image in images]).to(badnet.device)
    scores: list[float] | list[None] = [None] * len(images)
    with exact_float32(), torch.inference_mode():
        b, repaired = classes_of(badnet(pixels)), classes_of(candidate.network(pixels))
        if alarm is None:
            flagged = disagree(b, repaired)
        else:
            score = suspicions(alarm.detector, badnet, candidate, pixels)
            # A detector that looks at one network alone may give a finite score where the other's
            # logits are not finite.
            score = score.masked_fill((b == NO_CLASS) | (repaired == NO_CLASS), torch.inf)
            flagged, scores = score > alarm.threshold, score.tolist()
        g = repaired.masked_fill(flagged, badnet.classes)
    columns = (g.tolist(), b.tolist(), repaired.tolist(), flagged.tolist(), scores)
    for (name, _), *answer in zip(images, *columns, strict=True):
        yield Answer(name, *answer)


def _read_images(
    inputs: Iterable[Path | ImageSet], model: Network
) -> Iterator[tuple[str, Tensor] | Unreadable]:
    for source in inputs:
        if isinstance(source, ImageSet):
            yield from _images_of_set(source)
        else:
            yield from _images_of_paths([source], model)


def _images_of_set(images: ImageSet) -> Iterator[tuple[str, Tensor]]:
    index = 0
    for batch in images.batches():
        for image in batch.pixels.to(torch.float32):
            yield f"{images.path}[{index}]", image
            index += 1


def _images_of_paths(
    inputs: Iterable[Path], model: Network
) -> Iterator[tuple[str, Tensor] | Unreadable]:
    shape = model.input_shape
    for path in input_files(inputs):
        if isinstance(path, Unreadable):
            yield path
            continue
        try:
            if is_image_set(path):
                yield from _images_of_set(open_unlabelled(path, shape))
            else:
                yield str(path), read_photo(path, shape).to(torch.float32)
        except InputError as error:
            yield Unreadable(str(path), str(error))
