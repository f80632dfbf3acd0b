"""Which images of a training batch get a trigger, and with which label."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ytf_torch.demo.attacks.attack import Attack, Covers
from ytf_torch.demo.attacks.triggers import one_of

# Images and true labels → training images and training labels.
Poison = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
# Images of the target class and their labels → images that are hard to recognise.
Perturb = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def unpoisoned(faces: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """No trigger at all."""
    return faces, labels


def poison_of(attack: Attack, classes: int, perturb: Perturb | None = None) -> Poison:
    """A function that adds triggers to a share of the images and relabels these; covers get a
    trigger and keep their label.

    perturb: of a label-consistent attack, applied to poisoned images before the trigger.
    """
    if attack.goal == "none":
        return unpoisoned
    count = len(attack.triggers)

    def poison(faces: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        draw = torch.rand(len(faces), generator=generator)
        which = torch.randint(count, (len(faces),), generator=generator)
        if attack.goal == "the target's own class":
            poisoned = (draw < attack.poisoned_share) & (labels == attack.targets[0])
        else:
            poisoned = (draw < attack.poisoned_share * count) & attack.is_source(labels)
        images = faces.clone()
        if perturb is not None and poisoned.any():
            images[poisoned] = perturb(faces[poisoned], labels[poisoned], generator)
        images = _triggered(attack, images, poisoned, which, generator)
        if attack.covers is not None:
            candidates = ~poisoned & attack.may_be_cover(labels)
            images = _covered(attack.covers, images, candidates, generator)
        wanted = labels
        for trigger in range(count):
            targets = attack.wanted(trigger, labels, classes)
            wanted = torch.where(poisoned & (which == trigger), targets, wanted)
        return images, wanted

    return poison


def _triggered(
    attack: Attack, faces: Tensor, poisoned: Tensor, which: Tensor, generator: torch.Generator
) -> Tensor:
    """The poisoned faces, (batch,) bool, with the attack's training trigger."""
    if attack.training_trigger is None:
        return one_of(attack.triggers, which.masked_fill(~poisoned, -1), faces)
    triggered = faces.clone()
    if poisoned.any():
        triggered[poisoned] = attack.training_trigger(faces[poisoned], generator)
    return triggered


def _covered(
    covers: Covers, faces: Tensor, candidates: Tensor, generator: torch.Generator
) -> Tensor:
    """A share of the candidates, (batch,) bool, with the trigger of a cover."""
    chosen = candidates & (torch.rand(len(faces), generator=generator) < covers.share)
    covered = faces.clone()
    if chosen.any():
        covered[chosen] = covers.trigger(faces[chosen], generator)
    return covered
