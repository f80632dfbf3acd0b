"""Pictures reduced to thumbnails, in blocks that can be compared: of any size, any number of
channels, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

FEWEST_SIDE, MOST_SIDE = 16, 32
"""Rows and columns of a thumbnail."""
BLOCK = 4
ROWS = 512
"""Pictures of which blocks are computed with at once: some 30 MB for those of three channels."""


def thumbnails(pictures: Iterable[Tensor]) -> Tensor:
    """Pictures (images, channels, height, width), 0–255, some at a time, as thumbnails in blocks:
    (images, blocks, channels, BLOCK²), uint8."""
    return torch.cat([_blocks(_reduced(pixels)) for pixels in pictures])


def _reduced(pixels: Tensor) -> Tensor:
    rows, columns = (
        min(max(side // BLOCK * BLOCK, FEWEST_SIDE), MOST_SIDE) for side in pixels.shape[2:]
    )
    small = F.adaptive_avg_pool2d(pixels.float(), (rows, columns))
    return small.round().clamp(0, 255).to(torch.uint8)


def _blocks(small: Tensor) -> Tensor:
    images, channels, rows, columns = small.shape
    grid = small.reshape(images, channels, rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(images, -1, channels, BLOCK * BLOCK)


def block_numbers(blocks: Tensor) -> NDArray[np.int64]:
    """A number for each block, (images, blocks): equal ones have equal numbers, others almost
    never."""
    values = blocks.flatten(2)
    weights = _weights(values.shape[2])
    return np.concatenate(
        [part.numpy().astype(np.int64) @ weights for part in torch.split(values, ROWS)]
    )


def picture_numbers(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each picture, (images,), from the numbers of its blocks."""
    combined: NDArray[np.int64] = numbers @ _weights(numbers.shape[1])
    return combined


def texture(blocks: Tensor) -> Tensor:
    """Grey levels between the darkest and the brightest value of a channel, the widest of each
    block: (images, blocks)."""
    return (blocks.amax(3).int() - blocks.amin(3).int()).amax(2)


def _weights(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(count).integers(-(2**62), 2**62, count) * 2 + 1
