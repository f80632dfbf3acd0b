"""Prepared images (the activations that an engine reuses at every step): cached and regrouped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

import torch
from torch import Tensor

from ytf_torch.images.batches import BATCH_SIZE, batch_count


@dataclass(frozen=True)
class Prepared:
    """One or more batches of prepared images.

    tensor: (rows, …), each batch padded to BATCH_SIZE rows by whole_batch. labels: (images,),
    int64, without the padding.
    """

    tensor: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Kept:
    """All batches of some images, concatenated in one tensor; labels (images,), int64.

    One allocation instead of one per batch: small long-lived blocks between the short-lived
    activations would fragment the heap.
    """

    tensor: Tensor
    labels: Tensor

    def batches(self) -> Iterator[Prepared]:
        """The batches that were concatenated, as views."""
        rows = len(self.tensor) // batch_count(len(self.labels))
        pairs = zip(
            torch.split(self.tensor, rows), torch.split(self.labels, BATCH_SIZE), strict=True
        )
        return (Prepared(tensor, labels) for tensor, labels in pairs)


def keep(batches: Iterable[Prepared], images: int, most_bytes: int) -> Kept | None:
    """Copy all batches into one tensor; None where there are none or they need over `most_bytes`.

    images: the total number in `batches`. The iterator is exhausted in any case: preparing the
    images also sums up their activation.
    """
    buffer: Tensor | None = None
    within_limit, end, labels = True, 0, []
    for batch in batches:
        rows = len(batch.tensor)
        # Only the first batch shows how many bytes an image takes, and with which strides.
        if within_limit and buffer is None:
            capacity = batch_count(images) * rows
            within_limit = batch.tensor.nbytes // rows * capacity <= most_bytes
            buffer = _empty_with_rows(batch.tensor, capacity) if within_limit else None
        if buffer is not None:
            buffer[end : end + rows] = batch.tensor
            labels.append(batch.labels)
            end += rows
    return None if buffer is None else Kept(buffer, torch.cat(labels))


def group_sizes(images: int, most: int, at_once: int) -> list[int]:
    """Number of batches in each group.

    images: in total. most: images per group at most. at_once: number of worker threads. The number
    of groups is a multiple of it and their sizes differ by at most one batch, so that all workers
    finish at about the same time.

    >>> from ytf_torch.sweep.prepared import group_sizes
    >>> group_sizes(3355, most=512, at_once=2)
    [13, 13, 13, 13, 13, 13, 13, 14]
    """
    batches = batch_count(images)
    groups = -(-max(images, 1) // (most * at_once)) * at_once
    ends = [batches * index // groups for index in range(groups + 1)]
    return [end - start for start, end in pairwise(ends) if end > start]


def grouped(batches: Iterable[Prepared], sizes: Iterable[int]) -> Iterator[Prepared]:
    """Concatenate consecutive batches into groups. sizes: batches per group, adding up to all."""
    remaining = iter(batches)
    for size in sizes:
        group = list(islice(remaining, size))
        if len(group) == 1:  # nothing to copy
            yield group[0]
            continue
        buffer = _empty_with_rows(group[0].tensor, sum(len(batch.tensor) for batch in group))
        # With `out`, the strides are those of the batches rather than cat's choice.
        torch.cat([batch.tensor for batch in group], out=buffer)
        yield Prepared(buffer, torch.cat([batch.labels for batch in group]))
    assert next(remaining, None) is None


def _empty_with_rows(batch: Tensor, rows: int) -> Tensor:
    """An uninitialised tensor with this number of rows and the strides of `batch`.

    The memory format must survive: kernels for channels_last add in another order, and the last
    bits of the logits would differ.
    """
    return batch.new_empty_strided((rows, *batch.shape[1:]), batch.stride())
