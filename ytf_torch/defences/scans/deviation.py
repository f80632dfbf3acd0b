"""Robust z-scores, which measure how far a class stands out from the others."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

# Standard deviation / median absolute deviation of a normal distribution.
NORMAL = 1.4826


def deviations(values: Sequence[float], usual: Sequence[float] | None = None) -> list[float]:
    """(value − median) / (1.4826 · median absolute deviation), for each value.

    usual: the values whose median and deviation are taken, by default all.
    All 0 if the median absolute deviation is 0, as where more than half of the values are equal.
    """
    usual = values if usual is None else usual
    centre = median(usual)
    deviation = NORMAL * median(abs(value - centre) for value in usual)
    return [(value - centre) / deviation if deviation else 0.0 for value in values]
