"""The (step, image) pairs at which a sweep changes an image, and how they are put into batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ytf_torch.images.batches import BATCH_SIZE


def changes(alive: Tensor, order: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The (step, image) pairs at which an image changes, by step, and how many there are at each.

    alive: (images, channels), whether masking a channel changes anything on an image. An image
    changes at step 0, and when such a channel goes. Returns steps (pairs,), images (pairs,), and
    the counts from step 1 on.
    """
    masked = alive[:, list(order)].T
    changed = torch.cat([torch.ones_like(masked[:1]), masked])
    steps, images = changed.nonzero(as_tuple=True)
    return steps, images, masked.sum(1)


def latest(found: Tensor, steps: Tensor, images: Tensor, rows: int, columns: int) -> Tensor:
    """(rows, columns) of what was found at pairs of step and image: at the other steps an image
    has what it had at its last pair."""
    at = images.new_zeros((rows, columns))
    at[steps, images] = torch.arange(len(images), device=images.device)
    return found[at.cummax(0).values]


def pruning_steps(order: Sequence[int], device: torch.device) -> Tensor:
    """(channels,): after how many other channels each one is masked."""
    steps = torch.empty(len(order), dtype=torch.int64)
    steps[list(order)] = torch.arange(len(order))
    return steps.to(device)


def batches_of(tensor: Tensor) -> tuple[Tensor, ...]:
    """Pieces of BATCH_SIZE rows."""
    return torch.split(tensor, BATCH_SIZE)


def places_in_batches(images: Tensor) -> tuple[Tensor, int]:
    """Where these images go in batches in which each has the row that it has in the plain sweep's,
    which may count, see whole_batch: place by image, and how many places there are."""
    rows = images % BATCH_SIZE
    at_row = _count(rows)
    by_row = rows.argsort(stable=True)
    before = (at_row.cumsum(0) - at_row)[rows[by_row]]
    batch = torch.empty_like(rows)
    batch[by_row] = torch.arange(len(rows), device=rows.device) - before
    return batch * BATCH_SIZE + rows, int(at_row.max()) * BATCH_SIZE


def probes(images: Tensor, batches: int) -> Tensor:
    """Of the pairs of these images and some steps, so many batches: at every row of a batch the
    same number, spread over all steps."""
    rows = images % BATCH_SIZE
    at_row = _count(rows)
    share = torch.arange(batches * BATCH_SIZE, device=images.device).view(batches, BATCH_SIZE)
    at = at_row.cumsum(0) - at_row + at_row * share // share.numel()
    return rows.argsort(stable=True)[at.flatten()]


def _count(rows: Tensor) -> Tensor:
    """How often each of 0…BATCH_SIZE-1 is there. Unlike bincount it makes nobody wait for a GPU."""
    return rows.new_zeros(BATCH_SIZE).scatter_add(0, rows, torch.ones_like(rows))
