"""Drops: the clean accuracy given up for pruning, and the first step that reaches a drop."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from ytf_torch.errors import InputError, argument

Drop = str | float


def first_step_of_drop(correct: Sequence[int], images: int, drop: Fraction) -> int | None:
    """The first number of pruned channels at which accuracy has fallen by `drop` points or more.

    correct: number of correct answers on the clean validation set with 0, 1, 2, … channels pruned.
    images: size of that set. drop: percentage points, > 0.
    Returns the first step with `(correct[0] − correct[step]) · 100 ≥ drop · images`, in exact
    arithmetic rather than rounded percentages; None where no step reaches the drop.
    """
    return next(
        (
            step
            for step, correct_now in enumerate(correct)
            if (correct[0] - correct_now) * 100 >= drop * images
        ),
        None,
    )


def parse_drop(drop: Drop) -> Fraction:
    """Parse a drop in percentage points, such as "2", 2 or "2.5", as an exact fraction.

    Raises InputError unless it is a decimal number, 0 < drop ≤ 100.
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
    """Drops by name, in the given order. Raises InputError as parse_drop does, and for duplicates
    such as 2 and 2.0."""
    parsed = {drop_name(drop): parse_drop(drop) for drop in drops}
    if len(set(parsed.values())) != len(drops):
        names = ", ".join(map(drop_name, drops))
        raise InputError(argument("drops"), f"expected each drop once, found {names}")
    return parsed


def drop_name(drop: Drop) -> str:
    """The name of a drop in results and file names: as the user wrote it, "2" for 2.0."""
    return drop.strip() if isinstance(drop, str) else str(drop).removesuffix(".0")
