"""Lessons of a distillation: augmented and mixed clean faces with the teachers' logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ytf_torch.defences.dominant_classes import DominantFaces
from ytf_torch.defences.training import Augment, TrainingFaces
from ytf_torch.defences.variations import Mixture, mix
from ytf_torch.network.module import Network

# Networks differ in the scale of their logits: those of the teachers are scaled to this standard
# deviation.
LOGIT_SPREAD = 4.0
LESSON_BATCH = 256
# Batch size of the teachers: its feature maps fit into a core's cache.
TEACHER_BATCH = 64

Teacher = Callable[[Tensor], Tensor]
"""Pixels (batch, 3, H, W), uint8 → logits (batch, classes)."""


@dataclass(frozen=True)
class Lesson:
    """Augmented faces and the teachers' logits.

    pixels: (faces, 3, H, W), uint8. logits: (faces, classes). unmixed: bool (faces,), whether the
    image shows one person. people: (faces,), the label, valid where the face is unmixed.
    """

    pixels: Tensor
    logits: Tensor
    unmixed: Tensor
    people: Tensor


@dataclass(frozen=True)
class Material:
    """What lessons are made of: a teacher, clean faces and their augmentation, and those of them
    that are of dominant classes."""

    teacher: Teacher
    faces: TrainingFaces
    augment: Augment
    dominant: DominantFaces


@torch.no_grad()
def lesson_of(material: Material, count: int, mixed_share: float, generator: Generator) -> Lesson:
    """So many augmented faces with the teacher's logits, each face about equally often. Where the
    teacher is not trusted with a mixture, see distrusted, the logits are those of the face with the
    larger share alone.

    mixed_share: share of the images that is mixed, see mix.
    """
    faces, teacher = material.faces, material.teacher
    orders = [
        torch.randperm(len(faces), generator=generator) for _ in range(-(-count // len(faces)))
    ]
    parts = []
    order = torch.cat(orders)[:count].to(faces.labels.device)
    for chosen in torch.split(order, LESSON_BATCH):
        augmented = material.augment(faces.pixels[chosen].float(), generator)
        mixture = mix(augmented, generator, mixed_share)
        pixels, people = mixture.images.round().to(torch.uint8), faces.labels[chosen]
        replaced, larger = distrusted(material, mixture, people)
        shown = pixels.clone()
        shown[replaced] = augmented[larger[replaced]].round().to(torch.uint8)
        parts.append((pixels, teacher(shown), mixture.unmixed, people))
    return Lesson(*(torch.cat(part) for part in zip(*parts, strict=True)))


def distrusted(material: Material, mixture: Mixture, people: Tensor) -> tuple[Tensor, Tensor]:
    """Which mixtures of two people the teacher is not trusted with, bool (batch,), and the index of
    the face that has the larger share, (batch,).

    A piece of a face may be a trigger, and then it raises the logit of the target whoever it shows,
    often without making it the highest one. A blended face may be one if it is of a dominant class
    and has the smaller share.

    people: (batch,), the labels of the faces that were mixed.
    """
    own = torch.arange(len(people), device=people.device)
    other_is_smaller = mixture.share < 0.5
    smaller = torch.where(other_is_smaller, mixture.others, own)
    larger = torch.where(other_is_smaller, own, mixture.others)
    two_people = ~mixture.unmixed & (people[smaller] != people[larger])
    of_dominant = material.dominant.classes[people[smaller]]
    return two_people & (mixture.pasted | of_dominant), larger


def centred(logits: Tensor) -> Tensor:
    """Logits (batch, classes) minus their mean over classes; the softmax is the same."""
    return logits - logits.mean(1, keepdim=True)


def mean_of(teachers: Sequence[Teacher]) -> Teacher:
    """The mean of the teachers' logits."""
    return lambda pixels: torch.stack([teacher(pixels) for teacher in teachers]).mean(0)


def minimum_of(teachers: Sequence[Teacher]) -> Teacher:
    """The minimum over the teachers of each class's logit, centred: no class that only some of them
    predict gets a high logit."""
    return lambda pixels: centred(torch.stack([teacher(pixels) for teacher in teachers]).amin(0))


def scaled_logits(network: Network, faces: TrainingFaces) -> Teacher:
    """The network's centred logits, scaled to a standard deviation of LOGIT_SPREAD on `faces`."""

    def logits(pixels: Tensor) -> Tensor:
        return torch.cat([centred(network(part)) for part in torch.split(pixels, TEACHER_BATCH)])

    factor = LOGIT_SPREAD / logits(faces.pixels).std()
    return lambda pixels: logits(pixels) * factor
