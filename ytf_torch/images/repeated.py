"""Whether one set was given twice by mistake; which triggered face is which clean one is found in
pairing.py."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from ytf_torch.images.image_set import ImageSet

# Faces that are looked at to find a set given twice: pixel for pixel the same, six leave no doubt.
TOLD_APART_BY = 6


def evenly_spread(available: int, count: int) -> tuple[int, ...]:
    """Up to `count` different places of 0…available-1, the first one included."""
    count = min(count, available)
    return tuple(place * available // count for place in range(count))


def find_repeated(sets: Sequence[ImageSet]) -> tuple[int, int] | None:
    """The places of the first two sets that hold the same pictures, whatever their labels.

    Looked at are as few faces as tell: some spread over the sets, where two are of one length.
    """
    shown: dict[int, Tensor] = {}

    def pixels(place: int) -> Tensor:
        if place not in shown:
            faces = sets[place]
            shown[place] = faces.select(evenly_spread(len(faces), TOLD_APART_BY)).pixels.float()
        return shown[place]

    for one, other in combinations(range(len(sets)), 2):
        if len(sets[one]) == len(sets[other]) and torch.equal(pixels(one), pixels(other)):
            return one, other
    return None
