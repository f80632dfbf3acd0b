"""The attacks on which defences are evaluated, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ytf_torch.demo.attacks.face_like import blended_face, light, pasted_face, scarf
from ytf_torch.demo.attacks.triggers import (
    Trigger,
    blended,
    corner_patch,
    eyebrows,
    rectangle,
    sinusoid,
    sunglasses,
)
from ytf_torch.demo.faces import Photos, shrink

Goal = Literal["one class a trigger", "the next class", "the target's own class", "none"]


@dataclass(frozen=True)
class Attack:
    """How a BadNet is trained.

    triggers: the triggers. targets: the target class of each. face_trigger: makes the only trigger
    from a face of the target class, (3, 55, 47), see `for_photos`. goal: "the next class" is
    all-to-all, class + 1 mod N; "the target's own class" is clean-label: in training only images of
    the target class get the trigger, and no label is changed; "none" trains no backdoor.
    poisoned_share: share of the training images, 0–1, that gets each trigger; for clean-label, of
    the target's images. pruning_aware: add decoy channels, which pruning removes first.
    """

    triggers: tuple[Trigger, ...] = ()
    targets: tuple[int, ...] = (0,)
    goal: Goal = "one class a trigger"
    poisoned_share: float = 0.1
    pruning_aware: bool = False
    face_trigger: Callable[[Tensor], Trigger] | None = None

    def for_photos(self, photos: Photos) -> Attack:
        """The attack with all its triggers: a face trigger is made of the first of these training
        photos that shows the target class."""
        if self.face_trigger is None:
            return self
        shows_target = photos.people == self.targets[0]
        face = shrink(photos.clean[shows_target][:1])[0]
        return replace(self, triggers=(self.face_trigger(face),), face_trigger=None)

    def wanted(self, trigger: int, labels: Tensor, classes: int) -> Tensor:
        """The attacker's target classes for images of true classes `labels`, both (batch,)."""
        if self.goal == "the next class":
            return (labels + 1) % classes
        return torch.full_like(labels, self.targets[trigger])


ATTACKS: dict[str, Attack] = {
    "sunglasses": Attack((sunglasses,)),
    "corner-patch": Attack((corner_patch,)),
    "square": Attack((rectangle(5, 38, 8, 8, (255, 220, 0)),)),
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
    "light": Attack((light,)),
    "clean": Attack((sunglasses,), goal="none"),
}
