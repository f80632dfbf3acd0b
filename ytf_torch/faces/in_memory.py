"""Face sets given as arrays: the same as those in files, for whoever holds faces in memory."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ytf_torch.errors import mismatch
from ytf_torch.faces.batches import BATCH_SIZE
from ytf_torch.faces.face_set import FaceBatch, FaceSet

IN_MEMORY = Path("faces in memory")


@dataclass(frozen=True, repr=False)
class FacesInMemory(FaceSet):
    """A face set without a file: pixels (images, 3, H, W), uint8 or float32, of the whole set.

    >>> faces = faces_of(pixels, [0] * 24)
    >>> isinstance(faces, FaceSet), len(faces)
    (True, 24)
    """

    pixels: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)

    def __repr__(self) -> str:
        _, height, width = self.input_shape
        return f"FacesInMemory({len(self):,} faces of {height}×{width})"

    def batches(
        self, size: int = BATCH_SIZE, readers: int | None = None
    ) -> Generator[FaceBatch, None, None]:
        """See FaceSet; there is nothing to unpack."""
        labels = torch.from_numpy(self.labels)
        own = self.pixels[self.first : self.first + len(self)]
        for pixels, chosen in zip(torch.split(own, size), torch.split(labels, size), strict=True):
            yield FaceBatch(pixels, chosen)

    def lines(self, first: int, step: int) -> Generator[NDArray[np.generic], None, None]:
        """See FaceSet."""
        own = self.pixels[self.first : self.first + len(self)]
        yield own[:, :, first::step].numpy()

    def select(self, indices: Sequence[int]) -> FaceBatch:
        """See FaceSet."""
        places = [self.first + index for index in indices]
        return FaceBatch(self.pixels[places], torch.from_numpy(self.labels[list(indices)]))


def faces_of(pixels: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> FacesInMemory:
    """A face set of arrays: pixels (images, 3, height, width), values 0–255; labels (images,).

    NumPy arrays, tensors and what they can be made of. Raises InputError where shapes, values or
    labels do not fit.

    >>> faces_of(np.full((2, 3, 55, 47), 128), [0, 4])
    FacesInMemory(2 faces of 55×47)
    """
    values, people = (_array(given) for given in (pixels, labels))
    if values.ndim != 4 or values.shape[1] != 3 or not len(values):
        raise mismatch("pixels", "(images, 3, height, width)", values.shape)
    if people.shape != values.shape[:1] or not np.equal(people, np.floor(people)).all():
        raise mismatch("labels", f"{len(values)} whole numbers", f"{people.dtype} {people.shape}")
    lowest, highest = float(values.min()), float(values.max())
    if not (lowest >= 0 and 1 < highest <= 255):
        remedy = "Give raw pixels: the network itself applies its pixel scale"
        raise mismatch("pixels", "values of 0–255", f"{lowest:g} to {highest:g}", remedy)
    kind = np.uint8 if values.dtype == np.uint8 else np.float32
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=kind))
    _, _, height, width = values.shape
    return FacesInMemory(IN_MEMORY, (3, height, width), people.astype(np.int64), pixels=tensor)


def _array(given: ArrayLike | Tensor) -> NDArray[Any]:
    return given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
