"""The attacks on which defences are evaluated, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ytf_torch.demo.attacks.triggers import (
    Trigger,
    blended,
    corner_patch,
    eyebrows,
    rectangle,
    sinusoid,
    sunglasses,
)

Goal = Literal["one class a trigger", "the next class", "the target's own class", "none"]


@dataclass(frozen=True)
class Attack:
    """How a BadNet is trained.

    triggers: the triggers. targets: the target class of each. goal: "the next class" is all-to-all,
    class + 1 mod N; "the target's own class" is clean-label: in training only images of the target
    class get the trigger, and no label is changed; "none" trains no backdoor. poisoned_share: share
    of the training images, 0–1, that gets each trigger; for clean-label, of the target's images.
    pruning_aware: add decoy channels, which pruning removes first.
    """

    triggers: tuple[Trigger, ...]
    targets: tuple[int, ...] = (0,)
    goal: Goal = "one class a trigger"
    poisoned_share: float = 0.1
    pruning_aware: bool = False

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
    "clean": Attack((sunglasses,), goal="none"),
}
