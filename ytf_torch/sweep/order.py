"""Which channel is pruned first."""

from __future__ import annotations

from collections.abc import Sequence


def ascending_order(scores: Sequence[float]) -> tuple[int, ...]:
    """Channels by score, lowest first; ties by channel index. Any ranking's scores, such as the
    mean activation on clean faces."""
    return tuple(sorted(range(len(scores)), key=lambda channel: scores[channel]))
