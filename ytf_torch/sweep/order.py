"""Which channel is pruned first."""

from __future__ import annotations

from collections.abc import Sequence


def ascending_order(mean_activation: Sequence[float]) -> tuple[int, ...]:
    """Channels by mean activation, lowest first; ties by channel index.

    After Liu, Dolan-Gavitt and Garg, "Fine-Pruning" (RAID 2018): channels dormant on clean
    inputs go first.
    """
    return tuple(sorted(range(len(mean_activation)), key=lambda channel: mean_activation[channel]))
