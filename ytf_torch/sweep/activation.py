"""Mean activation per channel, from exact sums over batches, pieces and processes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from ytf_torch.distributed import gathered


@dataclass(frozen=True)
class Activation:
    """The summed output of a rank point over some images.

    sums: per channel, over all images and positions. positions: images · height · width, the
    number of values in each sum.
    """

    sums: tuple[float, ...]
    positions: int


def mean_activation(parts: Sequence[Activation]) -> tuple[float, ...]:
    """The mean per channel over all images of all parts: `Σ sums / Σ positions`."""
    positions = sum(part.positions for part in parts)
    channels = zip(*(part.sums for part in parts if part.sums), strict=True)
    return tuple(_sum(channel) / positions for channel in channels)


def _sum(values: Iterable[float]) -> float:
    """The exactly rounded sum; infinity where fsum overflows or meets infinities of both signs."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return math.inf


class ActivationSums:
    """Accumulates a rank point's outputs batch by batch.

    Each batch is summed in float64. The batch sums are added by fsum, which is exact, so the
    result does not depend on the order of batches or on their distribution over processes.
    """

    def __init__(self, batches: int) -> None:
        """batches: the largest number that will be added."""
        # One tensor for all: small long-lived blocks between large short-lived ones fragment the
        # heap.
        self.sums = torch.zeros((0, 0))
        self.batches, self.added, self.positions = batches, 0, 0

    def add(self, output: Tensor) -> None:
        """Add one batch. output: (batch, channels, H, W)."""
        if not self.added:
            self.sums = output.new_zeros((self.batches, output.shape[1]), dtype=torch.float64)
        self.sums[self.added] = output.double().sum((0, 2, 3))
        self.added += 1
        self.positions += output[:, 0].numel()

    def total(self) -> Activation:
        """The sums over everything that all processes added. All of them must call this."""
        batch_sums, positions = zip(*gathered((self.sums.tolist(), self.positions)), strict=True)
        channels = zip(*chain.from_iterable(batch_sums), strict=True)
        return Activation(tuple(map(_sum, channels)), sum(positions))
