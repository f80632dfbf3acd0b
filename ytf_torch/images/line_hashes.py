"""Hashes of a few lines of each image: enough to find images that are equal pixel for pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LINES = 3  # lines of each image that are hashed


def hashed_lines(height: int) -> slice:
    """Which lines of images of this height are hashed: LINES of them, perhaps a few more."""
    step = max(height // LINES, 1)
    return slice(step // 2, height, step)


def line_hashes(lines: NDArray[np.generic]) -> NDArray[np.int64]:
    """A hash of some lines of each image, (images,): equal for equal lines, whatever their dtype,
    and almost never for different ones.

    lines: (images, channels, lines, width). `Σ bits(float32(value)) · weight` modulo 2⁶⁴, with
    fixed odd random weights. Integer sums that wrap around are exact, so the hash does not depend
    on how many images are hashed at once.
    """
    # Adding 0 turns -0.0, whose bits differ, into 0.0.
    values = (lines.astype(np.float32) + 0).reshape(len(lines), -1)
    weights = np.random.default_rng(0).integers(-(2**62), 2**62, values.shape[1]) * 2 + 1
    hashes: NDArray[np.int64] = values.view(np.int32) @ weights
    return hashes
