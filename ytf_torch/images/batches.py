"""Batches of images, all of one size, so that results do not depend on how a set is split."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BATCH_SIZE = 32


def batch_count(images: int) -> int:
    """The number of batches of BATCH_SIZE that `images` fill, the last one perhaps in part."""
    return -(-images // BATCH_SIZE)


def whole_batch(pixels: Tensor) -> Tensor:
    """Pad a batch to BATCH_SIZE with copies of its last image.

    BLAS libraries choose the order of floating-point additions by the number of rows of a matrix
    product and a row's position in it. With batches of one size, an image's logits do not depend on
    the other images of its batch, so results are bit-identical however a set is split or shared
    among processes.
    """
    missing = BATCH_SIZE - len(pixels)
    return torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)]) if missing else pixels


def rebatched(
    arrays: Iterable[NDArray[np.generic]], size: int
) -> Generator[NDArray[np.generic], None, None]:
    """Concatenate arrays along their first axis and split them again into `size` rows each; the
    last may have fewer."""
    rest: NDArray[np.generic] | None = None
    for array in arrays:
        joined = array if rest is None else np.concatenate([rest, array])
        whole = len(joined) - len(joined) % size
        for start in range(0, whole, size):
            yield joined[start : start + size]
        # A copy: a view would keep the whole of `joined` in memory.
        rest = joined[whole:].copy() if whole < len(joined) else None
    if rest is not None:
        yield rest
