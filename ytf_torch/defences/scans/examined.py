"""Which classes a scan examines in full, where there are too many to examine them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ytf_torch.defences.training import seeded

# Up to so many classes, all are examined. The lab's tasks of 40 and 43 classes cost minutes.
MOST_CLASSES = 48
SUSPECTS, SAMPLE = 16, 16


@dataclass(frozen=True)
class Examined:
    """The classes that a scan examines in full.

    suspects: classes that stand out most in a short look at all. sample: random other classes,
    which show what is usual: the suspects are examined because they are unusual.
    """

    suspects: tuple[int, ...]
    sample: tuple[int, ...]

    @property
    def labels(self) -> tuple[int, ...]:
        """All of them, in ascending order."""
        return tuple(sorted((*self.suspects, *self.sample)))


def chosen_by(look: Sequence[float], seed: int) -> Examined:
    """The classes to examine, by their score in a short look; the highest is the most suspicious.

    Source: a short look at all arms before the promising ones are optimised, as in Shen and others,
    "Backdoor Scanning for Deep Neural Networks through K-Arm Optimization" (ICML 2021).
    """
    ordered = sorted(range(len(look)), key=lambda label: -look[label])
    suspects, others = ordered[:SUSPECTS], sorted(ordered[SUSPECTS:])
    drawn = torch.randperm(len(others), generator=seeded(seed))[:SAMPLE].tolist()
    return Examined(tuple(suspects), tuple(sorted(others[index] for index in drawn)))


def number_examined(classes: int) -> int:
    """How many of so many classes are examined in full."""
    return classes if classes <= MOST_CLASSES else SUSPECTS + SAMPLE
