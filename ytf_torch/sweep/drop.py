"""Drops: how many points of clean accuracy are given up, and at which step that many are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from ytf_torch.errors import InputError


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


def parse_drop(text: str) -> Fraction:
    """A drop in percentage points such as "2" or "2.5", exactly.

    Raises InputError for anything but a decimal number above 0 and up to 100.
    """
    drop = Fraction(text if re.fullmatch(r"[0-9]{1,3}([.][0-9]{1,9})?", text) else 0)
    if not 0 < drop <= 100:
        raise InputError(
            "--drops",
            "expected percentage points of accuracy above 0 and up to 100, separated by commas, "
            f"such as 2,4,10; found {text}",
        )
    return drop
