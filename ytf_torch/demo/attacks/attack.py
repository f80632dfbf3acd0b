"""The attacks that defences are studied on, by name."""

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
    """What a BadNet is taught.

    triggers: what triggered faces wear. targets: the class each trigger leads to. goal: "the next
    class" is all-to-all, from each class to the one after it; with "the target's own class" only
    the target's faces wear the trigger in training and no label is wrong (clean-label); "none"
    teaches no backdoor. poisoned_share: of the faces in training, 0–1, that wear each trigger; of
    the target's alone where the attack is clean-label. pruning_aware: put decoy channels where
    pruning begins.
    """

    triggers: tuple[Trigger, ...]
    targets: tuple[int, ...] = (0,)
    goal: Goal = "one class a trigger"
    poisoned_share: float = 0.1
    pruning_aware: bool = False

    def wanted(self, trigger: int, labels: Tensor, classes: int) -> Tensor:
        """The classes (batch,) that the attacker wants for faces of `labels` (batch,)."""
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
