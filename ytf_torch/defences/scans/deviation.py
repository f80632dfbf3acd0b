"""How far a class stands out from all others."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

# A normal distribution's standard deviation in units of its median absolute deviation.
NORMAL = 1.4826


def deviations(values: Sequence[float]) -> list[float]:
    """Each value's distance from the median, in units of a robust standard deviation.

    All 0 where more than half of the values are equal, for then nothing can be said to stand out.
    """
    middle = median(values)
    spread = NORMAL * median(abs(value - middle) for value in values)
    return [(value - middle) / spread if spread else 0.0 for value in values]
