"""Which channel is pruned first, and at which step a drop is reached."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def ascending_order(mean_activation: Sequence[float]) -> tuple[int, ...]:
    """Channels by mean activation, lowest first; ties by channel index.

    After Liu, Dolan-Gavitt and Garg, "Fine-Pruning" (RAID 2018): channels dormant on clean
    inputs go first.
    """
    return tuple(sorted(range(len(mean_activation)), key=lambda channel: mean_activation[channel]))


def first_step_of_drop(correct: Sequence[int], images: int, drop: Fraction) -> int | None:
    """The first number of pruned channels at which accuracy has fallen by `drop` points or more.

    correct: right answers on the clean validation set with 0, 1, 2, … channels pruned.
    images: how many answers that is out of. drop: percentage points, > 0.
    Counts are compared exactly, never rounded percentages. None where no step reaches the drop.
    """
    return next(
        (step for step, now in enumerate(correct) if (correct[0] - now) * 100 >= drop * images),
        None,
    )
