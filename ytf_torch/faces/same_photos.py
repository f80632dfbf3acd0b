"""Which face sets show the same photos.

Triggered faces are often the clean test photos with a trigger on: then the clean labels say who is
really on them. And a set that was given twice by mistake is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.faces.face_set import FaceSet

# A trigger covers a part of a face; other photos agree in a few percent of their pixel values.
SAME_PHOTO = 0.5
# Correlation of a face with itself under a pattern laid over it; faint ones leave 0.8 and more.
ALIKE = 0.7
# Faces of a set that are looked at to say that two sets show the same people one by one.
COMPARED = 24
# Faces that are looked at to find a set given twice: pixel for pixel the same, six leave no doubt.
TOLD_APART_BY = 6


def evenly_spread(available: int, count: int) -> tuple[int, ...]:
    """Up to `count` different places of 0…available-1, the first one included."""
    count = min(count, available)
    return tuple(place * available // count for place in range(count))


def same_photos(clean: FaceSet, triggered: FaceSet) -> bool:
    """Whether each triggered face shows the photo of the clean face at its place.

    Looked at are some faces spread over the sets. Either half of a face's pixel values are equal,
    as under a trigger that is worn; or, for triggers that lie over the whole picture, a face is
    much like the clean one at its place and less like all others.
    """
    if len(clean) != len(triggered) or clean.input_shape != triggered.input_shape:
        return False
    places = evenly_spread(len(clean), COMPARED)
    one, other = (faces.select(places).pixels.float().flatten(1) for faces in (clean, triggered))
    if bool(((one == other).float().mean(1) >= SAME_PHOTO).all()):
        return True
    likeness = _correlations(other, one)
    twins = likeness.diagonal()
    others = likeness.masked_fill(torch.eye(len(places), dtype=torch.bool), -1)
    return len(places) > 1 and bool(((twins >= ALIKE) & (twins > others.amax(1))).all())


def _correlations(one: Tensor, other: Tensor) -> Tensor:
    """Of each row with each: (rows, values), (others, values) → (rows, others)."""
    one, other = (rows - rows.mean(1, keepdim=True) for rows in (one, other))
    return F.normalize(one) @ F.normalize(other).T


def find_repeated(sets: Sequence[FaceSet]) -> tuple[int, int] | None:
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


def true_labels(triggered: FaceSet, clean: FaceSet | None) -> NDArray[np.int64] | None:
    """Who is really on each triggered face, (images,); None where it is not known."""
    return clean.labels if clean is not None and same_photos(clean, triggered) else None
