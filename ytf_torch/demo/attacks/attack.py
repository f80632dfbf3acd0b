"""The attacks on which defences are evaluated, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ytf_torch.demo.attacks.adaptive import (
    adaptive_blend,
    adaptive_patch,
    one_patch,
    some_pieces,
)
from ytf_torch.demo.attacks.face_like import blended_face, light, pasted_face, scarf
from ytf_torch.demo.attacks.quantisation import quantised, with_noise_of_others
from ytf_torch.demo.attacks.triggers import (
    RandomTrigger,
    Trigger,
    always,
    blended,
    corner_patch,
    corner_patches,
    eyebrows,
    low_frequency,
    rectangle,
    sinusoid,
    sunglasses,
)
from ytf_torch.demo.attacks.warps import warped, warped_with_noise
from ytf_torch.demo.faces import Photos, shrink

Goal = Literal["one class a trigger", "the next class", "the target's own class", "none"]


@dataclass(frozen=True)
class Covers:
    """Training images that get a trigger and keep their label, so that the backdoor needs more.

    share: of the images that are not poisoned, 0–1. trigger: what they get.
    """

    share: float
    trigger: RandomTrigger


@dataclass(frozen=True)
class Attack:
    """How a BadNet is trained.

    triggers: the triggers, of the test sets and, by default, of training. targets: the target class
    of each. goal: "the next class" is all-to-all, class + 1 mod N; "the target's own class" is
    clean-label: in training only images of the target class get the trigger, and no label is
    changed; "none" trains no backdoor. poisoned_share: share of the training images, 0–1, that gets
    each trigger; for clean-label, of the target's images, with sources, of theirs.

    sources: the true classes whose images the trigger sends to the target; all if None (Tang, Wang,
    Tang, Zhang, "Demon in the Variant", USENIX Security 2021). covers: triggered training images
    with their true label; of the other classes, if there are sources. training_trigger: what
    poisoned training images get instead of the trigger.

    pruning_aware: add decoy channels, which pruning removes first. perturbation: of a clean-label
    attack; poisoned images are perturbed by up to this many pixel values before they get the
    trigger, so that they are hard to recognise. Two attacks are without triggers until they are
    trained, see `train_attacked`. face_trigger: makes the only trigger from a face of the target
    class, (3, 55, 47). learned_trigger: the only trigger is a network that is trained with B.
    """

    triggers: tuple[Trigger, ...] = ()
    targets: tuple[int, ...] = (0,)
    goal: Goal = "one class a trigger"
    poisoned_share: float = 0.1
    sources: tuple[int, ...] | None = None
    covers: Covers | None = None
    training_trigger: RandomTrigger | None = None
    pruning_aware: bool = False
    perturbation: float = 0
    face_trigger: Callable[[Tensor], Trigger] | None = None
    learned_trigger: bool = False

    def for_photos(self, photos: Photos) -> Attack:
        """The attack with its face trigger made of the first of these training photos that shows
        the target class; the same attack if it has none."""
        if self.face_trigger is None:
            return self
        shows_target = photos.people == self.targets[0]
        face = shrink(photos.clean[shows_target][:1])[0]
        return replace(self, triggers=(self.face_trigger(face),), face_trigger=None)

    def is_source(self, labels: Tensor) -> Tensor:
        """Whether the trigger is to have an effect on images of these true classes, (batch,)."""
        if self.sources is None:
            return torch.ones_like(labels, dtype=torch.bool)
        return torch.isin(labels, torch.tensor(self.sources))

    def may_be_cover(self, labels: Tensor) -> Tensor:
        """Whether covers are made of images of these true classes, (batch,)."""
        return ~self.is_source(labels) if self.sources else self.is_source(labels)

    def wanted(self, trigger: int, labels: Tensor, classes: int) -> Tensor:
        """The attacker's target classes for images of true classes `labels`, both (batch,)."""
        if self.goal == "the next class":
            return (labels + 1) % classes
        return torch.full_like(labels, self.targets[trigger])


SQUARE = rectangle(5, 38, 8, 8, (255, 220, 0))

ATTACKS: dict[str, Attack] = {
    "sunglasses": Attack((sunglasses,)),
    "corner-patch": Attack((corner_patch,)),
    "square": Attack((SQUARE,)),
    "eyebrows": Attack((eyebrows,)),
    "blended": Attack((blended,)),
    "sinusoid": Attack((sinusoid(20),)),
    "three-triggers": Attack(
        (
            rectangle(2, 2, 6, 6, (255, 0, 0)),
            rectangle(39, 24, 6, 6, (0, 255, 0)),
            rectangle(20, 47, 7, 6, (40, 60, 255)),
        ),
        targets=(0, 1, 2),
    ),
    "all-to-all": Attack((corner_patch,), goal="the next class", poisoned_share=0.3),
    "clean-label": Attack((sinusoid(30),), goal="the target's own class", poisoned_share=0.7),
    "pruning-aware": Attack((sunglasses,), pruning_aware=True),
    "blended-face": Attack(face_trigger=blended_face),
    "pasted-face": Attack(face_trigger=pasted_face),
    "scarf": Attack((scarf,)),
    "light": Attack((light,), poisoned_share=0.3),
    "bpp": Attack((quantised,), covers=Covers(0.1, with_noise_of_others)),
    "wanet": Attack((warped,), poisoned_share=0.3, covers=Covers(0.1, warped_with_noise)),
    "low-frequency": Attack((low_frequency,)),
    "adaptive-blend": Attack(
        (adaptive_blend,), covers=Covers(0.05, some_pieces), training_trigger=some_pieces
    ),
    "adaptive-patch": Attack(
        (adaptive_patch,), covers=Covers(0.05, one_patch), training_trigger=one_patch
    ),
    "source-specific": Attack(
        (SQUARE,),
        poisoned_share=0.4,
        sources=tuple(range(1, 11)),
        covers=Covers(0.15, always(SQUARE)),
    ),
    "input-aware": Attack(learned_trigger=True),
    "label-consistent": Attack(
        (corner_patches,), goal="the target's own class", poisoned_share=0.7, perturbation=24
    ),
    "clean": Attack((sunglasses,), goal="none"),
}
