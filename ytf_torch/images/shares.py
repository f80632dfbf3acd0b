"""Which faces of a set each process of a run takes."""

from __future__ import annotations

from ytf_torch.distributed import Place, own_place
from ytf_torch.images.batches import BATCH_SIZE, batch_count
from ytf_torch.images.image_set import ImageSet


def share_of(faces: ImageSet, place: Place | None = None) -> ImageSet:
    """One process's part of a face set: consecutive images, as many as the others have or one
    batch more or less. It begins where a batch of BATCH_SIZE does, so that batches are the same
    ones however many processes there are; it may be empty. place: whose part, None for this
    process's own.
    """
    batches = (place or own_place()).share(batch_count(len(faces)))
    return faces.part(batches.start * BATCH_SIZE, min(batches.stop * BATCH_SIZE, len(faces)))
