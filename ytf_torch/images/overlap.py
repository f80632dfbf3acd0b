"""Finds images that two sets share, whatever their order and labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.line_hashes import hashed_lines, line_hashes
from ytf_torch.images.read_once import ReadOnce
from ytf_torch.images.repeated import evenly_spread

COMPARED = 24  # candidates that are compared in full, for each pair of sets


def shared_images(sets: Sequence[ImageSet]) -> dict[tuple[int, int], int]:
    """How many images of a set are in an earlier set too, pixel for pixel, as {(index of the
    earlier set, index of the set): count}, for pairs of sets that share any.

    Of each image only some lines are hashed, and 8 bytes are kept. A trigger may leave these lines
    unchanged, so COMPARED of the candidates are then compared in full; if one of them differs, the
    pair counts as sharing none. Raises InputError if a file cannot be read.
    """
    hashes = [digests(images) for images in sets]
    shared = {}
    for one, other in combinations(range(len(sets)), 2):
        if sets[one].input_shape == sets[other].input_shape:
            distinct, first = np.unique(hashes[one], return_index=True)
            places = np.flatnonzero(np.isin(hashes[other], distinct))
            twins = first[np.searchsorted(distinct, hashes[other][places])]
            if len(places) and _are_equal(sets[one], twins, sets[other], places):
                shared[one, other] = len(places)
    return shared


def _are_equal(
    one: ImageSet, places: NDArray[np.int64], other: ImageSet, others: NDArray[np.int64]
) -> bool:
    """Whether `one` at indices `places` equals `other` at indices `others`, judged by COMPARED
    images."""
    chosen = list(evenly_spread(len(places), COMPARED))
    first, second = (
        images.select(indices[chosen].tolist()).pixels.float()
        for images, indices in ((one, places), (other, others))
    )
    return torch.equal(first, second)


def digests(images: ImageSet) -> NDArray[np.int64]:
    """A hash of some lines of each image, (images,), see line_hashes."""
    if isinstance(images, ReadOnce):
        return images.line_hashes()
    lines = hashed_lines(images.input_shape[1])
    return np.concatenate([line_hashes(part) for part in images.lines(lines.start, lines.step)])
