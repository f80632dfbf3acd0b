"""The (step, image) pairs at which masking changes an image, and how they form batches.

Most channels are silent on most images, so there are far fewer such pairs than steps × images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ytf_torch.images.batches import BATCH_SIZE


def changes(alive: Tensor, order: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The (step, image) pairs at which an image changes, ordered by step.

    alive: (images, channels), True where masking a channel changes an image's maps. Step 0 counts
    as a change of every image. Returns the steps (pairs,), the images (pairs,), and the number of
    pairs at each of the steps 1, 2, …, (len(order),).
    """
    masked = alive[:, list(order)].T
    changed = torch.cat([torch.ones_like(masked[:1]), masked])
    # nonzero goes row by row, so the pairs are ordered by step.
    steps, images = changed.nonzero(as_tuple=True)
    return steps, images, masked.sum(1)


def latest(values: Tensor, steps: Tensor, images: Tensor, rows: int, columns: int) -> Tensor:
    """Spread one value per pair over all steps × images, (rows, columns).

    values, steps, images: (pairs,), ordered by step. At a step without a pair an image keeps the
    value of its last one: pair indices rise with the steps, so a running maximum finds it.
    """
    pair_index = images.new_zeros((rows, columns))
    pair_index[steps, images] = torch.arange(len(images), device=images.device)
    return values[pair_index.cummax(0).values]


def pruning_steps(order: Sequence[int], device: torch.device) -> Tensor:
    """(channels,): the position of each channel in `order`, which is the inverse permutation."""
    steps = torch.empty(len(order), dtype=torch.int64)
    steps[list(order)] = torch.arange(len(order))
    return steps.to(device)


def batches_of(tensor: Tensor) -> tuple[Tensor, ...]:
    """Split into batches of BATCH_SIZE rows."""
    return torch.split(tensor, BATCH_SIZE)


def slots_in_batches(images: Tensor) -> tuple[Tensor, int]:
    """Assign pairs to batches so that each image keeps the row it has in the plain sweep's batch.

    Matrix libraries may round by row, see whole_batch, so only then its logits are bit-identical.
    images: (pairs,). Returns the slot `batch · BATCH_SIZE + row` of each pair, and the total
    number of slots, some of which stay empty.
    """
    rows = images % BATCH_SIZE
    images_at_row = _count(rows)
    by_row = rows.argsort(stable=True)
    earlier_at_row = (images_at_row.cumsum(0) - images_at_row)[rows[by_row]]
    # The n-th pair of a row goes into batch n.
    batch = torch.empty_like(rows)
    batch[by_row] = torch.arange(len(rows), device=rows.device) - earlier_at_row
    return batch * BATCH_SIZE + rows, int(images_at_row.max()) * BATCH_SIZE


def probes(images: Tensor, batches: int) -> Tensor:
    """Indices of the pairs to verify: `batches · BATCH_SIZE` of them.

    images: (pairs,), ordered by step. For each row of a batch the same number is chosen, evenly
    spread over the steps, so that they fill whole batches.
    """
    rows = images % BATCH_SIZE
    images_at_row = _count(rows)
    fraction = torch.arange(batches * BATCH_SIZE, device=images.device).view(batches, BATCH_SIZE)
    chosen = images_at_row.cumsum(0) - images_at_row + images_at_row * fraction // fraction.numel()
    return rows.argsort(stable=True)[chosen.flatten()]


def _count(rows: Tensor) -> Tensor:
    """How often each of 0…BATCH_SIZE-1 occurs. Unlike bincount, without synchronising a GPU."""
    return rows.new_zeros(BATCH_SIZE).scatter_add(0, rows, torch.ones_like(rows))
