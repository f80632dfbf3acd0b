"""Detects that one set was given twice by mistake. pairing.py finds which clean image a triggered
one was made from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from ytf_torch.images.image_set import ImageSet

# Images that are compared, pixel by pixel: six equal ones leave no doubt.
TOLD_APART_BY = 6


def evenly_spread(available: int, count: int) -> tuple[int, ...]:
    """At most `count` distinct indices of 0…available-1, evenly spaced, starting with 0."""
    count = min(count, available)
    return tuple(place * available // count for place in range(count))


def find_repeated(sets: Sequence[ImageSet]) -> tuple[int, int] | None:
    """The indices of the first two sets with the same images, whatever their labels.

    Only sets of equal length are compared, by TOLD_APART_BY images spread evenly over them.
    """
    samples: dict[int, Tensor] = {}

    def pixels(index: int) -> Tensor:
        if index not in samples:
            faces = sets[index]
            samples[index] = faces.select(evenly_spread(len(faces), TOLD_APART_BY)).pixels.float()
        return samples[index]

    for one, other in combinations(range(len(sets)), 2):
        if len(sets[one]) == len(sets[other]) and torch.equal(pixels(one), pixels(other)):
            return one, other
    return None
