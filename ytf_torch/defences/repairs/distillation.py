"""Distillation: a fresh network learns the logits of two teachers, from clean faces alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.dominant_classes import (
    DominantFaces,
    dominance,
    mixtures_for,
    winning_rates,
)
from ytf_torch.defences.lessons import (
    LESSON_BATCH,
    LOGIT_SPREAD,
    Lesson,
    Material,
    centred,
    lesson_of,
    mean_of,
    minimum_of,
    scaled_logits,
)
from ytf_torch.defences.repairs.fine_tuning import FineTuning
from ytf_torch.defences.training import (
    TRAINING_PIXEL_SCALE,
    Augment,
    TrainingFaces,
    augmentation_for,
    fresh_network,
    known,
    learned_statistics,
    seeded,
)
from ytf_torch.defences.variations import occlude, overlay, relight
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.read_ahead import read_ahead
from ytf_torch.network.module import Network
from ytf_torch.progress import Track

# Each face is used for at least so many images of the lessons. With 6 a student of 1,283 classes
# lost 2.5 points, with 9 1.4.
USES_OF_A_FACE = 9
# With fewer images of each class, training from fresh weights does not learn it. With 490 for each
# of 196 classes a fresh student recognised two thirds of the faces; with 5,760 for each of 40, all
# that B does.
IMAGES_OF_A_CLASS = 4800
# Where the student does not start from fresh weights: share of the fine-tuned copy's weights in its
# initial ones.
KEPT = 0.5
# A second teacher that recognises a smaller share of the augmented faces is not used. With 196
# classes one recognised 89 %, and 96.9 % of the clean test faces; one made at half the rate 96 %
# and 99.3 %.
AUGMENTED_RECOGNISED = 0.95
# With many classes: share of occluded faces in the fine-tuning of the second teacher. It lowered
# its ASR on a sinusoid of 196 people from 47 % to 11 %.
TUNED_OCCLUDED = 0.5
# A student that recognises a smaller share of the validation faces that B recognises is
# under-trained.
FITTED = 0.98
MOST_CYCLES = 3
# Range of the lighting augmentation of the student's images, relative to that of the teachers'.
RELIGHTING = 0.6

Shown = Generator[tuple[Tensor, Lesson, Tensor], None, None]
"""Batches of a student: its images, the lesson that they are of, and their indices in it."""


class Distillation:
    """Trains a new network to match its teachers' logits on clean faces.

    The teachers are B and a copy of B that is fine-tuned at a high learning rate; the student
    learns the mean of their logits, so what only one of them knows, such as the rest of a backdoor,
    counts half. The teachers see augmented and mixed validation faces, on which their logits hold
    more information than on the few faces themselves. The student sees the same images, a share of
    them occluded by what may be a trigger: patches, strokes, ellipses, glasses, waves, textures. As
    the logits are those of the image without the occlusion, it learns to ignore occlusions.

    A trigger that looks like a whole face of the target makes the teachers answer the target for
    blended faces in which it has the smaller share. If there are such dominant classes
    (dominant_classes.py), the student learns the logits of the other face alone for these mixtures,
    and a share of its images gets a face of a dominant class over them. A piece of another face in
    a mixed image is an occlusion as well, as it may look like a trigger: the student learns the
    logits of the image without it.

    With too few images of each class to train from fresh weights (see starts_fresh), the student's
    initial weights are the mean of fresh ones and those of the fine-tuned copy: that disables the
    backdoor, and the features recover soon. There the copy is fine-tuned on occluded faces too, and
    the student learns the minimum of the teachers' logits, which leaves out what only one of them
    knows. A student that does not fit the validation faces yet is trained again, up to MOST_CYCLES
    times in all.

    rounds: number of lessons; there are more with many faces, see rounds_for. lesson: images in
    each. passes: epochs over each lesson, with new occlusions each time; a student that starts from
    fresh weights gets other images after half of them. covered_shares: share of the images that is
    occluded, and share that is occluded a second time. mixed_share: share of the images that is
    mixed. label_weight: weight of the cross-entropy with the label, on unmixed faces; the weight of
    the logits is 1 − label_weight.

    Sources: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network" (2015); Li, Lyu,
    Koren, Lyu, Li, Ma, "Neural Attention Distillation" (ICLR 2021), for a fine-tuned teacher;
    Zhang, Cisse, Dauphin, Lopez-Paz, "mixup" (ICLR 2018), and Yun and others, "CutMix" (ICCV
    2019), for mixed faces; Ash, Adams, "On Warm-Starting Neural Network Training" (NeurIPS 2020),
    for weights that are shrunk and perturbed.
    """

    def __init__(
        self,
        *,
        rounds: int = 12,
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
            teachers = [scaled_logits(teacher, faces) for teacher in (network, tuned)]
        teacher = mean_of(teachers) if fresh else minimum_of(teachers)
        mixtures = self.mixtures_for(network.classes)
        excess = dominance(winning_rates(teacher, network.classes, faces, augment, mixtures))
        dominant = DominantFaces.among(faces, excess)
        material = Material(teacher, faces, augment, dominant)
        student = fresh_network(network, self.seed)
        # One learning rate fits all networks only if their inputs have one scale, about 1. A
        # network with a layer of its own that scales its inputs keeps it.
        rescalable = bool(student.pixel_readers())
        if rescalable:
            student.pixel_scale = TRAINING_PIXEL_SCALE
        if not fresh:
            interpolate_weights(student, tuned, KEPT)
        rounds = self.rounds_for(len(faces))
        batch = self.batch if fresh else 2 * self.batch
        steps = rounds * self.passes * -(-self.lesson // batch)
        renewed = max(self.passes // 2, 1) if fresh else self.passes
        wanted = FITTED * recognised
        for cycle in range(MOST_CYCLES):
            phase = "distilling" if cycle == 0 else f"distilling, cycle {cycle + 1}"
            done = track(phase, rounds * self.passes * self.lesson, "pictures")
            shown = self._shown(material, rounds, batch, renewed, generator)
            with torch.enable_grad(), learned_statistics(student):
                self._train(student.train(), shown, steps, done)
            if known(student.eval(), faces) >= wanted:
                break
        if rescalable:
            student.read_pixels_at(network.pixel_scale)
        into = "a fresh network" if fresh else "a network of half its weights"
        history = (
            f"distilled from itself and a copy {step} into {into}, "
            f"on {len(faces)} clean faces, varied, mixed and covered{dominant.step}, "
            f"seed {self.seed}"
        )
        yield Candidate("distilled", student, (history,))

    def _second_teacher(
        self,
        network: Network,
        faces: TrainingFaces,
        augment: Augment,
        recognised: int,
        generator: torch.Generator,
        track: Track,
    ) -> tuple[Network, str]:
        """A fine-tuned copy and its description for the history, see tuning_for. With many classes
        it is fine-tuned on occluded faces too, and again at half the rate if the first copy does
        not recognise the augmented faces."""
        tuning, tuning_augment, how = self.tuning_for(len(faces), network.classes), augment, ""
        many = not self.starts_fresh(len(faces), network.classes)
        if many:
            tuning_augment = with_occlusions(augment, TUNED_OCCLUDED)
            how = ", half of them covered"
        done = track("fine-tuning a second teacher", tuning.epochs * len(faces))
        tuned = tuning.tuned(network, faces, tuning_augment, recognised, generator, done)
        if many and known(
            tuned, augmented_once(faces, augment, self.seed)
        ) < AUGMENTED_RECOGNISED * len(faces):
            tuning = tuning.gentler()
            done = track("fine-tuning a gentler one", tuning.epochs * len(faces))
            tuned = tuning.tuned(network, faces, tuning_augment, recognised, generator, done)
        return tuned, f"{tuning.step(len(faces))}{how}"

    def rounds_for(self, faces: int) -> int:
        """Number of lessons: `rounds`, or as many as give each face USES_OF_A_FACE images."""
        return max(self.rounds, -(-USES_OF_A_FACE * faces // self.lesson))

    def tuning_for(self, faces: int, classes: int) -> FineTuning:
        """How the second teacher is first fine-tuned: gently for a student that starts from fresh
        weights, which learns the mean of both teachers, and what they know of unseen faces."""
        fresh = self.starts_fresh(faces, classes)
        return self.fine_tuning.gentler() if fresh else self.fine_tuning

    def starts_fresh(self, faces: int, classes: int) -> bool:
        """Whether each class gets IMAGES_OF_A_CLASS images, enough to train from fresh weights."""
        images = self.rounds_for(faces) * self.passes * self.lesson
        return images >= IMAGES_OF_A_CLASS * classes

    def mixtures_for(self, classes: int) -> int:
        """How many mixtures tell the dominant classes."""
        return mixtures_for(classes)

    def _train(
        self, student: Network, shown: Shown, steps: int, done: Callable[[int], None]
    ) -> None:
        optimizer = torch.optim.Adam(student.parameters(), self.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, steps, pct_start=0.25
        )
        # Images are made while the student learns from those before: each uses one core in part.
        for pixels, lesson, chosen in read_ahead([shown]):
            optimizer.zero_grad()
            torch.autograd.backward(self._loss(student(pixels), lesson, chosen))
            optimizer.step()
            schedule.step()
            done(len(chosen))

    def _shown(
        self,
        material: Material,
        rounds: int,
        batch: int,
        renewed: int,
        generator: torch.Generator,
    ) -> Shown:
        """All batches of a student. renewed: the epochs after which a lesson gets new images."""
        for _ in range(rounds):
            for epoch in range(self.passes):
                if epoch % renewed == 0:
                    lesson = lesson_of(material, self.lesson, self.mixed_share, generator)
                order = torch.randperm(self.lesson, generator=generator)
                for chosen in torch.split(order.to(lesson.unmixed.device), batch):
                    yield self._hidden(lesson.pixels[chosen], material, generator), lesson, chosen

    def _hidden(self, pixels: Tensor, material: Material, generator: torch.Generator) -> Tensor:
        """The student's images: relit, a share of them occluded, and a share with a face of a
        dominant class over them."""
        images = relight(pixels.float(), generator, RELIGHTING)
        for share in self.covered_shares:
            images = occlude(images, generator, share)
        if len(material.dominant):
            draw = torch.rand(len(images), generator=generator)
            over = (draw < material.dominant.overlaid).nonzero().flatten().to(images.device)
            if len(over):
                others = material.dominant.drawn(len(over), generator).float()
                others = material.augment(others, generator)
                images[over] = overlay(images[over], others, generator)
        return images

    def _loss(self, logits: Tensor, lesson: Lesson, chosen: Tensor) -> Tensor:
        """(1 − w) · MSE(logits, teachers' logits) / LOGIT_SPREAD + w · cross-entropy on unmixed
        faces, w = label_weight. logits: the student's."""
        distance = F.mse_loss(centred(logits), lesson.logits[chosen]) / LOGIT_SPREAD
        loss = (1 - self.label_weight) * distance
        unmixed = lesson.unmixed[chosen]
        if unmixed.any():
            people = lesson.people[chosen][unmixed]
            loss = loss + self.label_weight * F.cross_entropy(logits[unmixed], people)
        return loss


@torch.no_grad()
def interpolate_weights(student: Network, other: Network, share: float) -> None:
    """student ← (1 − share) · student + share · other, in place, for networks of one graph. If
    their pixel scales differ, the weights of `other` are converted to that of `student` first."""
    if other.pixel_scale != student.pixel_scale:
        other = copy.deepcopy(other)
        other.read_pixels_at(student.pixel_scale)
    for own, others in zip(student.parameters(), other.parameters(), strict=True):
        own.lerp_(others, share)


def with_occlusions(augment: Augment, share: float) -> Augment:
    """The augmentation, followed by the occlusion of a share of the faces."""
    return lambda pixels, generator: occlude(augment(pixels, generator), generator, share)


def augmented_once(faces: TrainingFaces, augment: Augment, seed: int) -> TrainingFaces:
    """Each face augmented once, as the teachers see them."""
    generator = seeded(seed)
    parts = [
        augment(part.float(), generator).round().to(torch.uint8)
        for part in torch.split(faces.pixels, LESSON_BATCH)
    ]
    return TrainingFaces(torch.cat(parts), faces.labels)
