"""Mean activation by channel, from sums that add up over batches, pieces and processes."""

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
    """What a rank point put out, summed by channel over some images.

    sums: by channel, over images and positions. positions: images × height × width of the map.
    """

    sums: tuple[float, ...]
    positions: int


def mean_activation(parts: Sequence[Activation]) -> tuple[float, ...]:
    """Mean by channel over all images of all parts."""
    positions = sum(part.positions for part in parts)
    channels = zip(*(part.sums for part in parts if part.sums), strict=True)
    return tuple(_sum(channel) / positions for channel in channels)


def _sum(values: Iterable[float]) -> float:
    """The exact sum; infinite where it is beyond what a float can be."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return math.inf


class ActivationSums:
    """Sums up batches of a rank point's outputs.

    Each batch is summed in float64 and the sums are added exactly, so their order cannot matter.
    """

    def __init__(self, batches: int) -> None:
        """batches: how many there will be at most."""
        # One tensor: small ones kept between large short-lived ones break up the memory.
        self.sums = torch.zeros((0, 0))
        self.batches, self.added, self.positions = batches, 0, 0

    def add(self, output: Tensor) -> None:
        """output: (batch, channels, H, W)."""
        if not self.added:
            self.sums = output.new_zeros((self.batches, output.shape[1]), dtype=torch.float64)
        self.sums[self.added] = output.double().sum((0, 2, 3))
        self.added += 1
        self.positions += output[:, 0].numel()

    def total(self) -> Activation:
        """Of all that was added, by all processes."""
        sums, positions = zip(*gathered((self.sums.tolist(), self.positions)), strict=True)
        channels = zip(*chain.from_iterable(sums), strict=True)
        return Activation(tuple(map(_sum, channels)), sum(positions))
