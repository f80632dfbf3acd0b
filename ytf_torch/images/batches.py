"""Batches of faces: one size for all, so that figures do not depend on how a set is cut."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BATCH_SIZE = 32


def batch_count(images: int) -> int:
    """How many batches so many images make."""
    return -(-images // BATCH_SIZE)


def whole_batch(pixels: Tensor) -> Tensor:
    """A batch filled up to BATCH_SIZE with copies of its last image.

    Matrix libraries add in an order that depends on how many rows a product has and on a row's
    place in it. In batches of one size an image's logits do not depend on what comes with it, so
    figures are the same however a set is cut or shared out, down to the last bit.
    """
    missing = BATCH_SIZE - len(pixels)
    return torch.cat([pixels, pixels[-1:].expand(missing, -1, -1, -1)]) if missing else pixels


def rebatched(
    arrays: Iterable[NDArray[np.generic]], size: int
) -> Generator[NDArray[np.generic], None, None]:
    """Cut arrays, joined end to end along their first axis, anew: `size` rows each, the last may
    have fewer."""
    rest: NDArray[np.generic] | None = None
    for array in arrays:
        joined = array if rest is None else np.concatenate([rest, array])
        whole = len(joined) - len(joined) % size
        for start in range(0, whole, size):
            yield joined[start : start + size]
        rest = joined[whole:].copy() if whole < len(joined) else None
    if rest is not None:
        yield rest
