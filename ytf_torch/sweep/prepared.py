"""Images as an engine prepared them for a sweep: batches of one size, put together and kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

import torch
from torch import Tensor

from ytf_torch.images.batches import BATCH_SIZE, batch_count


@dataclass(frozen=True)
class Prepared:
    """Some images as an engine prepared them, filled up by whole_batch; labels (batch,), int64."""

    tensor: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Kept:
    """All batches of some images, end to end in one tensor; labels (images,), int64.

    In one tensor: pieces kept one by one would leave the memory between them unusable.
    """

    tensor: Tensor
    labels: Tensor

    def batches(self) -> Iterator[Prepared]:
        """The batches again."""
        rows = len(self.tensor) // batch_count(len(self.labels))
        pairs = zip(
            torch.split(self.tensor, rows), torch.split(self.labels, BATCH_SIZE), strict=True
        )
        return (Prepared(tensor, labels) for tensor, labels in pairs)


def keep(batches: Iterable[Prepared], images: int, most_bytes: int) -> Kept | None:
    """Keep all batches of so many images, or None where there are none or they take more than
    `most_bytes`; all are taken from the iterator either way."""
    room: Tensor | None = None
    fits, at, labels = True, 0, []
    for batch in batches:
        rows = len(batch.tensor)
        if fits and room is None:
            capacity = batch_count(images) * rows
            fits = batch.tensor.nbytes // rows * capacity <= most_bytes
            room = _room_like(batch.tensor, capacity) if fits else None
        if room is not None:
            room[at : at + rows] = batch.tensor
            labels.append(batch.labels)
            at += rows
    return None if room is None else Kept(room, torch.cat(labels))


def group_sizes(images: int, most: int, at_once: int) -> list[int]:
    """How many batches go into each group, of so many images.

    most: images that a group may have. at_once: groups that are worked on side by side: their
    number is a multiple of it and all are about as large, so that nobody waits for the last one.

    >>> from ytf_torch.sweep.prepared import group_sizes
    >>> group_sizes(3355, most=512, at_once=2)
    [13, 13, 13, 13, 13, 13, 13, 14]
    """
    batches = batch_count(images)
    groups = -(-max(images, 1) // (most * at_once)) * at_once
    ends = [batches * place // groups for place in range(groups + 1)]
    return [end - start for start, end in pairwise(ends) if end > start]


def grouped(batches: Iterable[Prepared], sizes: Iterable[int]) -> Iterator[Prepared]:
    """Put batches together, so many in each group: all that there are."""
    remaining = iter(batches)
    for size in sizes:
        waiting = list(islice(remaining, size))
        if len(waiting) == 1:
            yield waiting[0]
            continue
        room = _room_like(waiting[0].tensor, sum(len(batch.tensor) for batch in waiting))
        torch.cat([batch.tensor for batch in waiting], out=room)
        yield Prepared(room, torch.cat([batch.labels for batch in waiting]))
    assert next(remaining, None) is None


def _room_like(batch: Tensor, rows: int) -> Tensor:
    """An empty tensor of so many rows, laid out in memory as `batch` is."""
    return batch.new_empty_strided((rows, *batch.shape[1:]), batch.stride())
