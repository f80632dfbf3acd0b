"""Drops: how many points of clean accuracy are given up, and at which step that many are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from ytf_torch.errors import InputError, argument

Drop = str | float


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


def parse_drop(drop: Drop) -> Fraction:
    """A drop in percentage points such as "2", 2 or "2.5", exactly.

    Raises InputError for anything but a decimal number above 0 and up to 100.
    """
    text = drop_name(drop)
    points = Fraction(text if re.fullmatch(r"[0-9]{1,3}([.][0-9]{1,9})?", text) else 0)
    if not 0 < points <= 100:
        raise InputError(
            argument("drops"),
            "expected percentage points of accuracy above 0 and up to 100, such as 2, 4 and 10; "
            f"found {text}",
        )
    return points


def parse_drops(drops: Sequence[Drop]) -> dict[str, Fraction]:
    """Drops by name, in the order given. Raises InputError as parse_drop does, and for a drop that
    stands there twice."""
    parsed = {drop_name(drop): parse_drop(drop) for drop in drops}
    if len(set(parsed.values())) != len(drops):
        found = ", ".join(map(drop_name, drops))
        raise InputError(argument("drops"), f"expected each drop once, found {found}")
    return parsed


def drop_name(drop: Drop) -> str:
    """What a drop is called in results and in names of files: as it was written, 2 for 2.0."""
    return drop.strip() if isinstance(drop, str) else str(drop).removesuffix(".0")
