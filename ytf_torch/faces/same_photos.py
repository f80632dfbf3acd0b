"""Who is really on triggered faces: told by a clean set of the same photos at the same places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ytf_torch.faces.face_set import FaceSet

# A trigger covers a part of a face; other photos agree in a few percent of their pixel values.
SAME_PHOTO = 0.5
COMPARED = 24


def evenly_spread(available: int, count: int) -> tuple[int, ...]:
    """Up to `count` different places of 0…available-1, the first one included."""
    count = min(count, available)
    return tuple(place * available // count for place in range(count))


def same_photos(clean: FaceSet, triggered: FaceSet) -> bool:
    """Whether each triggered face shows the photo of the clean face at its place.

    Looked at are some faces spread over the sets: half of a face's pixel values must be equal.
    """
    if len(clean) != len(triggered) or clean.input_shape != triggered.input_shape:
        return False
    places = evenly_spread(len(clean), COMPARED)
    pairs = zip(clean.select(places).pixels, triggered.select(places).pixels, strict=True)
    return all(float((one == other).float().mean()) >= SAME_PHOTO for one, other in pairs)


def true_labels(triggered: FaceSet, clean: FaceSet | None) -> NDArray[np.int64] | None:
    """Who is really on each triggered face, (images,); None where no clean set tells it."""
    return clean.labels if clean is not None and same_photos(clean, triggered) else None
