"""Distillation: a new network learns what two teachers agree on, from clean faces alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.repairs.fine_tuning import FineTuning
from ytf_torch.defences.training import (
    Augment,
    TrainingFaces,
    augmentation_for,
    known,
    learned_statistics,
    seeded,
)
from ytf_torch.defences.variations import covered, lit, mixed
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track

# Logits have different sizes in every network; this is the standard deviation they are brought to.
LOGIT_SPREAD = 4.0
LESSON_BATCH = 256
# What a teacher answers at once: feature maps that fit into a core's cache.
TEACHER_BATCH = 64
TRAINING_PIXEL_SCALE = 1 / 64
DRAWS_OF_A_FACE = 6
# A class that fewer pictures show is not learned from nothing. With 490 for each of 196 classes a
# fresh student recognised two thirds of the faces; with 2,400 for each of 40, all that B does.
PICTURES_OF_A_CLASS = 2000
# How much of the fine-tuned copy a student keeps that does not start from nothing.
KEPT = 0.5
# A second teacher that recognises fewer of the varied faces teaches no good. Of 196 classes one had
# 89 %, and 96.9 % of the clean test faces; the gentler one 96 % and 99.3 %.
VARIED_KNOWN = 0.95
# Of many classes: of the faces that the second teacher is fine-tuned on, those that are covered.
# A sinusoid of 196 people: its ASR goes from 47 % without to 11 % with them.
TUNED_COVERED = 0.5
# A student that recognises a smaller share of what B does of the validation faces is under-trained.
FITTED = 0.98
MOST_CYCLES = 3
# What the student sees beside its teachers: a little more or less light.
RELIT = 0.6


@dataclass(frozen=True)
class Lesson:
    """Faces with what the teachers say of them.

    pixels: (faces, 3, H, W), uint8. logits: (faces, classes), of the teachers together. alone:
    whether it is one person's face and no mixture. people: whose face it is, where it is alone.
    """

    pixels: Tensor
    logits: Tensor
    alone: Tensor
    people: Tensor


class Distillation:
    """Trains a new network to answer as its teachers do, on faces that wear no trigger.

    The teachers are B and a copy of B fine-tuned at a high rate; what only one of them knows, such
    as what is left of a backdoor, counts half. They see validation faces that are moved, lit and
    mixed with one another, which tells more of how B sees people than the few faces themselves.
    The student sees the same faces, a share of them covered by what might be a trigger: patches,
    strokes, ellipses, glasses, waves, textures. So it learns that such things do not change who
    somebody is.

    Where the pictures are too few to learn so many classes from nothing, the student starts half
    way between fresh weights and those of the fine-tuned copy: the backdoor is broken there, and
    features come back soon. So that it is broken more, the copy is then fine-tuned on covered faces
    too, and of each class the student is told the smaller of the two teachers' logits: what only
    one of them knows does not count. A student that does not fit the validation faces yet is
    trained on, up to MOST_CYCLES times in all.

    passes: how often each face of a lesson is looked at, covered anew each time. covered_shares:
    of the faces, those that are covered once, and those that are covered once more.
    `rounds` lessons of `lesson` pictures are made; more rounds where the faces are very many.

    Sources: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network" (2015); Li, Lyu,
    Koren, Lyu, Li, Ma, "Neural Attention Distillation" (ICLR 2021), for a fine-tuned teacher;
    Zhang, Cisse, Dauphin, Lopez-Paz, "mixup" (ICLR 2018), and Yun and others, "CutMix" (ICCV
    2019), for mixed faces; Ash, Adams, "On Warm-Starting Neural Network Training" (NeurIPS 2020),
    for weights that are shrunk and perturbed.
    """

    def __init__(
        self,
        *,
        rounds: int = 5,
        lesson: int = 4800,
        passes: int = 4,
        learning_rate: float = 3e-3,
        batch: int = 64,
        mixed_share: float = 0.7,
        covered_shares: Sequence[float] = (0.55, 0.2),
        label_weight: float = 0.1,
        fine_tuning: FineTuning | None = None,
        seed: int = 0,
    ) -> None:
        self.rounds, self.lesson, self.passes = rounds, lesson, passes
        self.learning_rate, self.batch = learning_rate, batch
        self.mixed_share, self.covered_shares = mixed_share, tuple(covered_shares)
        self.label_weight = label_weight
        self.fine_tuning = FineTuning() if fine_tuning is None else fine_tuning
        self.seed = seed

    def candidates(
        self, network: Network, clean_valid: ImageSet, track: Track
    ) -> Iterator[Candidate]:
        """See Repair."""
        faces = TrainingFaces.of(clean_valid, network.device)
        generator = seeded(self.seed)
        fresh = self.starts_fresh(len(faces), network.classes)
        augment, recognised = augmentation_for(network, faces), known(network, faces)
        tuned, step = self._second_teacher(network, faces, augment, recognised, generator, track)
        with torch.no_grad():
            teachers = [in_common_units(teacher, faces) for teacher in (network, tuned)]
        if not fresh:
            teachers = [what_all_say(teachers)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            student = network.fresh()
        # Inputs of about 1, whatever the network reads: else the learning rate fits no layer. One
        # that scales its inputs itself, by a layer of its own, is left to it.
        rescalable = bool(student.pixel_readers())
        if rescalable:
            student.pixel_scale = TRAINING_PIXEL_SCALE
        if not fresh:
            move_weights(student, tuned, KEPT)
        rounds, batch = self.rounds_for(len(faces)), self.batch if fresh else 2 * self.batch
        wanted = FITTED * recognised
        for cycle in range(MOST_CYCLES):
            phase = "distilling" if cycle == 0 else f"distilling, cycle {cycle + 1}"
            done = track(phase, rounds * self.passes * self.lesson, "pictures")
            with torch.enable_grad(), learned_statistics(student):
                teach = (teachers, faces, augment, rounds, batch, generator, done)
                self._train(student.train(), *teach)
            if known(student.eval(), faces) >= wanted:
                break
        if rescalable:
            student.read_pixels_at(network.pixel_scale)
        into = "a fresh network" if fresh else "a network of half its weights"
        history = (
            f"distilled from itself and a copy {step} into {into}, "
            f"on {len(faces)} clean faces, varied, mixed and covered, seed {self.seed}"
        )
        yield Candidate("distilled", student, (history,))

    def _second_teacher(
        self,
        network: Network,
        faces: TrainingFaces,
        augment: Augment,
        recognised: int,
        generator: Generator,
        track: Track,
    ) -> tuple[Network, str]:
        """A fine-tuned copy, and how it was made. Of many classes one that has seen covered faces,
        and a gentler one, where the first does not recognise the faces once they are varied."""
        tuning, shown, how = self.fine_tuning, augment, ""
        many = not self.starts_fresh(len(faces), network.classes)
        if many:
            shown, how = also_covered(augment, TUNED_COVERED), ", half of them covered"
        done = track("fine-tuning a second teacher", tuning.epochs * len(faces))
        tuned = tuning.tuned(network, faces, shown, recognised, generator, done)
        if many and known(tuned, varied_once(faces, augment, self.seed)) < VARIED_KNOWN * len(
            faces
        ):
            tuning = FineTuning(
                learning_rate=tuning.learning_rate / 2,
                epochs=2 * tuning.epochs,
                batch=tuning.batch,
            )
            done = track("fine-tuning a gentler one", tuning.epochs * len(faces))
            tuned = tuning.tuned(network, faces, shown, recognised, generator, done)
        return tuned, f"{tuning.step(len(faces))}{how}"

    def rounds_for(self, faces: int) -> int:
        """How many lessons: `rounds`, or more where there are so many faces that each would be in
        fewer than DRAWS_OF_A_FACE pictures."""
        return max(self.rounds, -(-DRAWS_OF_A_FACE * faces // self.lesson))

    def starts_fresh(self, faces: int, classes: int) -> bool:
        """Whether the lessons show each class often enough for a student that knows nothing."""
        pictures = self.rounds_for(faces) * self.passes * self.lesson
        return pictures >= PICTURES_OF_A_CLASS * classes

    def _train(
        self,
        student: Network,
        teachers: Sequence[Callable[[Tensor], Tensor]],
        faces: TrainingFaces,
        augment: Augment,
        rounds: int,
        batch: int,
        generator: Generator,
        done: Callable[[int], None],
    ) -> None:
        optimizer = torch.optim.Adam(student.parameters(), self.learning_rate)
        steps = rounds * self.passes * -(-self.lesson // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, steps, pct_start=0.25
        )
        for _ in range(rounds):
            lesson = self._lesson(teachers, faces, augment, generator)
            for _ in range(self.passes):
                order = torch.randperm(self.lesson, generator=generator)
                for chosen in torch.split(order.to(lesson.alone.device), batch):
                    optimizer.zero_grad()
                    torch.autograd.backward(self._loss(student, lesson, chosen, generator))
                    optimizer.step()
                    schedule.step()
                    done(len(chosen))

    @torch.no_grad()
    def _lesson(
        self,
        teachers: Sequence[Callable[[Tensor], Tensor]],
        faces: TrainingFaces,
        augment: Augment,
        generator: Generator,
    ) -> Lesson:
        """Validation faces, each about equally often, varied and mixed, and what teachers say."""
        orders = [
            torch.randperm(len(faces), generator=generator)
            for _ in range(-(-self.lesson // len(faces)))
        ]
        parts = []
        order = torch.cat(orders)[: self.lesson].to(faces.labels.device)
        for chosen in torch.split(order, LESSON_BATCH):
            varied = augment(faces.pixels[chosen].float(), generator)
            shown, alone = mixed(varied, generator, self.mixed_share)
            pixels = shown.round().to(torch.uint8)
            said = torch.stack([teacher(pixels) for teacher in teachers]).mean(0)
            parts.append((pixels, said, alone, faces.labels[chosen]))
        return Lesson(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _loss(
        self, student: Network, lesson: Lesson, chosen: Tensor, generator: Generator
    ) -> Tensor:
        pixels = lit(lesson.pixels[chosen].float(), generator, RELIT)
        for share in self.covered_shares:
            pixels = covered(pixels, generator, share)
        logits = student(pixels)
        distance = F.mse_loss(centred(logits), lesson.logits[chosen]) / LOGIT_SPREAD
        loss = (1 - self.label_weight) * distance
        alone = lesson.alone[chosen]
        if alone.any():
            people = lesson.people[chosen][alone]
            loss = loss + self.label_weight * F.cross_entropy(logits[alone], people)
        return loss


@torch.no_grad()
def move_weights(student: Network, other: Network, share: float) -> None:
    """Move a network's weights towards those of another of its graph, by `share` of the way: 1
    gives its answers, whatever pixel scale each has."""
    if other.pixel_scale != student.pixel_scale:
        other = copy.deepcopy(other)
        other.read_pixels_at(student.pixel_scale)
    for mine, its in zip(student.parameters(), other.parameters(), strict=True):
        mine.lerp_(its, share)


def centred(logits: Tensor) -> Tensor:
    """Logits (batch, classes) with a mean of 0; the same probabilities."""
    return logits - logits.mean(1, keepdim=True)


def also_covered(augment: Augment, share: float) -> Augment:
    """The augmentation, and then a share of the faces covered."""
    return lambda pixels, generator: covered(augment(pixels, generator), generator, share)


def what_all_say(teachers: Sequence[Callable[[Tensor], Tensor]]) -> Callable[[Tensor], Tensor]:
    """Of each class the smallest of the teachers' centred logits, centred: a class that only some
    of them answer is answered by none."""
    return lambda pixels: centred(torch.stack([teacher(pixels) for teacher in teachers]).amin(0))


def varied_once(faces: TrainingFaces, augment: Augment, seed: int) -> TrainingFaces:
    """Each face augmented once, as teachers see them."""
    generator = seeded(seed)
    parts = [
        augment(part.float(), generator).round().to(torch.uint8)
        for part in torch.split(faces.pixels, LESSON_BATCH)
    ]
    return TrainingFaces(torch.cat(parts), faces.labels)


def in_common_units(network: Network, faces: TrainingFaces) -> Callable[[Tensor], Tensor]:
    """The network's centred logits, brought to a standard deviation of LOGIT_SPREAD on `faces`."""

    def answers(pixels: Tensor) -> Tensor:
        return torch.cat([centred(network(part)) for part in torch.split(pixels, TEACHER_BATCH)])

    factor = LOGIT_SPREAD / answers(faces.pixels).std()
    return lambda pixels: answers(pixels) * factor
