"""Which faces of one set are in another as well, wherever they stand there and whatever they are
labelled."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.repeated import evenly_spread

COMPARED = 24
LINES = 3


def shared_images(sets: Sequence[ImageSet]) -> dict[tuple[int, int], int]:
    """How many faces of a set are in an earlier one too, pixel for pixel: by the places of the
    earlier set and of the set, for those pairs that share any.

    Only LINES lines of each face are read, of which eight bytes are kept. Some of the faces that
    agree in them are then compared as a whole, for a trigger may leave these lines as they were;
    where one differs, none counts as shared.
    Raises InputError where a file cannot be read.
    """
    numbers = [digests(faces) for faces in sets]
    found = {}
    for one, other in combinations(range(len(sets)), 2):
        if sets[one].input_shape == sets[other].input_shape:
            known, first = np.unique(numbers[one], return_index=True)
            places = np.flatnonzero(np.isin(numbers[other], known))
            twins = first[np.searchsorted(known, numbers[other][places])]
            if len(places) and _are_equal(sets[one], twins, sets[other], places):
                found[one, other] = len(places)
    return found


def _are_equal(
    one: ImageSet, places: NDArray[np.int64], other: ImageSet, others: NDArray[np.int64]
) -> bool:
    """Whether faces at these places of two sets are equal: some of them are looked at."""
    chosen = list(evenly_spread(len(places), COMPARED))
    first, second = (
        faces.select(where[chosen].tolist()).pixels.float()
        for faces, where in ((one, places), (other, others))
    )
    return torch.equal(first, second)


def digests(faces: ImageSet) -> NDArray[np.int64]:
    """A number for LINES lines of each face, (images,): equal ones have equal numbers, others
    almost never; the type they are stored in makes no difference.

    Sums of products that overflow are exact, so it does not matter how many faces are read at once.
    """
    channels, height, width = faces.input_shape
    step = max(height // LINES, 1)
    lines = faces.lines(step // 2, step)
    count = len(range(step // 2, height, step))
    weights = np.random.default_rng(0).integers(-(2**62), 2**62, channels * count * width) * 2 + 1
    parts = [
        (part.astype(np.float32) + 0).reshape(len(part), -1).view(np.int32) @ weights
        for part in lines
    ]
    return np.concatenate(parts)
