"""Quantisation with dithering as a trigger.

Source: Wang, Zhai, Ma, "BppAttack" (CVPR 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Levels of each channel, as in the paper's code.
LEVELS = 8
# Floyd and Steinberg: what a pixel hands on to those right, below left, below and below right.
RIGHT, BELOW_LEFT, BELOW, BELOW_RIGHT = 7 / 16, 3 / 16, 5 / 16, 1 / 16


def quantised(faces: Tensor, levels: int = LEVELS) -> Tensor:
    """Each channel reduced to `levels` values, with the dithering of Floyd and Steinberg.

    A pixel depends on those to its left and above. All pixels with the same column + 2 · row are
    independent of one another, so they are computed at once.
    """
    height, width = faces.shape[2:]
    step = 255 / (levels - 1)
    # A border takes the error that leaves the image.
    error_in = F.pad(torch.zeros_like(faces), (1, 1, 0, 1))
    quantised_faces = torch.empty_like(faces)
    for diagonal in range(width + 2 * (height - 1)):
        first, last = max(0, -(-(diagonal - width + 1) // 2)), min(height - 1, diagonal // 2)
        rows = torch.arange(first, last + 1)
        columns = diagonal - 2 * rows
        value = faces[:, :, rows, columns] + error_in[:, :, rows, columns + 1]
        nearest = (value / step).round().clamp(0, levels - 1) * step
        quantised_faces[:, :, rows, columns] = nearest
        error = value - nearest
        error_in[:, :, rows, columns + 2] += RIGHT * error
        error_in[:, :, rows + 1, columns] += BELOW_LEFT * error
        error_in[:, :, rows + 1, columns + 1] += BELOW * error
        error_in[:, :, rows + 1, columns + 2] += BELOW_RIGHT * error
    return quantised_faces.round()


def with_noise_of_others(faces: Tensor, generator: torch.Generator) -> Tensor:
    """The paper's negative images: each with the quantisation noise of another of the batch, so
    that noise of this kind is not enough for the backdoor."""
    others = faces[torch.randperm(len(faces), generator=generator)]
    return (faces + quantised(others) - others).clamp(0, 255)
