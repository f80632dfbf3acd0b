"""The order in which channels are pruned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Direction = Literal["ascending", "descending"]


def pruning_order(scores: Sequence[float], direction: Direction) -> tuple[int, ...]:
    """Channel indices by score, lowest or highest first; ties by index in both directions.

    >>> pruning_order([2.0, 0.0, 2.0, 1.0], "descending")
    (0, 2, 3, 1)
    """
    return ascending_order(scores if direction == "ascending" else [-score for score in scores])


def ascending_order(scores: Sequence[float]) -> tuple[int, ...]:
    """Channel indices by score, lowest first; ties by index."""
    return tuple(sorted(range(len(scores)), key=lambda channel: scores[channel]))
