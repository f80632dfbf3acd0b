"""Splits an image set among the processes of a run."""

from __future__ import annotations

from ytf_torch.distributed import Place, own_place
from ytf_torch.images.batches import BATCH_SIZE, batch_count
from ytf_torch.images.image_set import ImageSet


def share_of(faces: ImageSet, place: Place | None = None) -> ImageSet:
    """One process's share of an image set: consecutive images; shares differ by at most one batch.

    A share starts at a multiple of BATCH_SIZE, so that the batches are the same for any number of
    processes. It may be empty. place: the process, None for this one.
    """
    batches = (place or own_place()).share(batch_count(len(faces)))
    return faces.part(batches.start * BATCH_SIZE, min(batches.stop * BATCH_SIZE, len(faces)))
