"""Reduces images of any size and number of channels to thumbnails of comparable blocks, in bounded
memory."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MIN_SIDE, MAX_SIDE = 16, 32
"""Least and most rows and columns of a thumbnail."""
BLOCK = 4
"""Rows and columns of a block."""
ROWS = 512
"""Images whose blocks are processed at once: about 30 MB with three channels."""

UNPAIRED = -1
"""The place of a thumbnail for which no other one is found."""


def thumbnails(batches: Iterable[Tensor]) -> Tensor:
    """Reduce images to thumbnails in blocks, (images, blocks, channels, BLOCK²), uint8.

    batches: pixels (batch, channels, height, width), 0–255.
    """
    return torch.cat([_blocks(_reduced(pixels)) for pixels in batches])


def _reduced(pixels: Tensor) -> Tensor:
    rows, columns = (
        min(max(side // BLOCK * BLOCK, MIN_SIDE), MAX_SIDE) for side in pixels.shape[2:]
    )
    down, across = _windows(pixels.shape[2], rows), _windows(pixels.shape[3], columns)
    # Sums of whole pixel values are exact in any order: equal images have equal thumbnails,
    # whatever batch they are in.
    sums = down @ (pixels.float() @ across.T)
    sizes = down.sum(1)[:, None] * across.sum(1)
    return (sums / sizes).round().clamp(0, 255).to(torch.uint8)


@cache
def _windows(pixels: int, cells: int) -> Tensor:
    """Which pixels of an axis each cell averages, as in adaptive average pooling: 0 or 1, (cells,
    pixels)."""
    cell, pixel = torch.arange(cells)[:, None], torch.arange(pixels)
    start, end = cell * pixels // cells, -(-(cell + 1) * pixels // cells)
    return ((start <= pixel) & (pixel < end)).float()


def _blocks(small: Tensor) -> Tensor:
    images, channels, rows, columns = small.shape
    grid = small.reshape(images, channels, rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(images, -1, channels, BLOCK * BLOCK)


def block_hashes(blocks: Tensor) -> NDArray[np.int64]:
    """A hash of each block, (images, blocks): equal for equal blocks, almost never for others."""
    values = blocks.flatten(2)
    weights = _weights(values.shape[2])
    return np.concatenate(
        [part.numpy().astype(np.int64) @ weights for part in torch.split(values, ROWS)]
    )


def image_hashes(hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """A hash of each image, (images,), from the hashes of its blocks, (images, blocks)."""
    combined: NDArray[np.int64] = hashes @ _weights(hashes.shape[1])
    return combined


def texture(blocks: Tensor) -> Tensor:
    """The range of values in each block, `max over channels of (max - min)`, (images, blocks)."""
    return (blocks.amax(3).int() - blocks.amin(3).int()).amax(2)


def _weights(count: int) -> NDArray[np.int64]:
    """Fixed odd random weights of a hash modulo 2⁶⁴: multiplying by an odd number is invertible."""
    return np.random.default_rng(count).integers(-(2**62), 2**62, count) * 2 + 1


def parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split into parts of ROWS, which bound the memory of a comparison."""
    return [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
