"""Finds the classes that win mixtures of two faces although they have the smaller share in them: a
sign of a trigger that looks like a face of the target.

With such a trigger, for example one photo of the target blended over every poisoned face, B has
learned that a faint face of the target decides. So it answers the target for mixtures of clean
faces too. Other triggers hardly set the target apart from people whose faces outweigh others by
nature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from ytf_torch.defences.training import Augment, TrainingFaces, seeded
from ytf_torch.predicted_class import classes_of

# Mixtures for each class, on average. With many classes as many as make MOST_MIXTURES in all, but
# at least FEWEST: there innocent classes win little more than the median one. BATCH: how many go
# through the network at once.
MIXTURES, FEWEST, MOST_MIXTURES = 240, 30, 20_000
BATCH = 256
# The smaller share. Below a fifth a face can hardly be seen; at nearly a half both may win.
SMALLER_SHARE = (0.2, 0.45)
# A dominant class wins so much more of its mixtures than the median class. The teachers of
# `distillation` gave the target 0.26 to 0.59 more in five BadNets of 40 people. In fifteen others
# no class got more than 0.24, but for two, where a person who is not the target got 0.26 and 0.27.
# Of 196 people the target got 0.36 more with a face as its trigger; other classes of four BadNets
# got at most 0.10, and of one with 1,283 people, from 30 mixtures each, 0.20.
LEAST_EXCESS = 0.25
# The share of a student's images that get a face of a dominant class over them is its excess less
# NATURAL_EXCESS, which many people have, and at most MOST_OVERLAID. The more of them do, the fewer
# unseen faces a student recognises.
NATURAL_EXCESS, MOST_OVERLAID = 0.2, 0.5


@dataclass(frozen=True)
class DominantFaces:
    """Clean faces of the dominant classes; there may be none.

    classes: bool (classes,), which are dominant. faces: theirs. weights: (faces,), in proportion to
    which they are drawn: how dominant their class is.
    """

    classes: Tensor
    faces: TrainingFaces
    weights: Tensor

    @classmethod
    def among(cls, faces: TrainingFaces, excess: Tensor) -> DominantFaces:
        """excess: of every class, see dominance."""
        excess = excess.to(faces.labels.device)
        weights = excess[faces.labels]
        theirs = weights > 0
        return cls(
            excess > 0,
            TrainingFaces(faces.pixels[theirs], faces.labels[theirs]),
            weights[theirs].cpu(),
        )

    def __len__(self) -> int:
        return len(self.faces)

    @property
    def overlaid(self) -> float:
        """The share of a student's images that get one of these faces over them, by the excess of
        the most dominant class; 0 without any."""
        if not len(self):
            return 0.0
        return min(float(self.weights.max()) - NATURAL_EXCESS, MOST_OVERLAID)

    @property
    def step(self) -> str:
        """What the history of a student says of them; empty if there are none."""
        classes = self.classes.nonzero().flatten().tolist()
        if not classes:
            return ""
        if len(classes) == 1:
            return f", also with faces of class {classes[0]}, which outweighs others in mixtures"
        names = ", ".join(map(str, classes))
        return f", also with faces of classes {names}, which outweigh others in mixtures"

    def drawn(self, count: int, generator: Generator) -> Tensor:
        """The pixels of some of them, (count, 3, H, W)."""
        if not count:
            return self.faces.pixels[:0]
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        return self.faces.pixels[chosen.to(self.faces.labels.device)]


def dominance(rates: Tensor) -> Tensor:
    """How far the rate of each dominant class is above that of the median class; 0 for the other
    classes. rates: see winning_rates, (classes,)."""
    excess = rates - rates.median()
    return excess.where(excess >= LEAST_EXCESS, 0.0)


def mixtures_for(classes: int) -> int:
    """How many mixtures of two faces tell the dominant ones of so many classes."""
    return max(FEWEST * classes, min(MIXTURES * classes, MOST_MIXTURES))


@torch.no_grad()
def winning_rates(
    logits_of: Callable[[Tensor], Tensor],
    classes: int,
    faces: TrainingFaces,
    augment: Augment,
    mixtures: int,
) -> Tensor:
    """For each class, the share of mixtures that are assigned to it, of those in which it has the
    smaller share and another class the larger: (classes,), 0–1, on the CPU; 0 for a class that is
    in none.

    logits_of: (batch, 3, H, W), uint8 → logits (batch, classes). mixtures: how many to make, of two
    faces each that are drawn at random and augmented. Equal faces give equal rates.
    """
    generator = seeded(0)
    won, mixed = torch.zeros(2, classes)
    for _ in range(-(-mixtures // BATCH)):
        chosen = torch.randint(len(faces), (BATCH,), generator=generator).to(faces.labels.device)
        larger = augment(faces.pixels[chosen].float(), generator)
        larger_class = faces.labels[chosen]
        # Each face is the larger one of one mixture and the smaller one of the next.
        smaller, smaller_class = larger.roll(1, 0), larger_class.roll(1)
        share = torch.empty(BATCH, 1, 1, 1).uniform_(*SMALLER_SHARE, generator=generator)
        mixture = larger.lerp(smaller, share.to(larger)).round().to(torch.uint8)
        differ = larger_class != smaller_class
        wins = differ & (classes_of(logits_of(mixture)) == smaller_class)
        for counts, which in ((mixed, differ), (won, wins)):
            counts += torch.bincount(smaller_class[which].cpu(), minlength=classes)
    rates: Tensor = won / mixed.clamp_min(1)
    return rates
