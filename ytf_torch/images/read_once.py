"""An image set whose images are compared with others without being read for it.

A sweep reads every image of its sets. What is needed to pair triggered images with clean ones, and
to find images that two sets share, is computed of each batch that it reads: a thumbnail, and a hash
of some lines. To read the lab's files again for that takes as long as the comparisons.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.image_set import PAIRING_BATCH, ImageBatch, ImageSet, ImageSets
from ytf_torch.images.line_hashes import hashed_lines, line_hashes
from ytf_torch.images.pairing import Pairing, pair_thumbnails
from ytf_torch.images.thumbnails import thumbnails


@dataclass
class Seen:
    """What is computed of the images of a whole set, as far as they have been read.

    read: (images,), bool. hashes: of some lines, (images,). blocks: thumbnails, (images, blocks,
    channels, values), uint8; None where the set is not paired, empty before the first is made.
    """

    read: NDArray[np.bool_]
    hashes: NDArray[np.int64]
    blocks: NDArray[np.uint8] | None = None

    @classmethod
    def nothing(cls, images: int, *, paired: bool) -> Seen:
        """No image has been read yet. paired: whether thumbnails will be needed."""
        blocks = np.empty(0, np.uint8) if paired else None
        return cls(np.zeros(images, bool), np.empty(images, np.int64), blocks)

    def add(self, first: int, pixels: Tensor) -> None:
        """Consecutive images, the first of which has the index `first`."""
        places = slice(first, first + len(pixels))
        if self.read[places].all():
            return
        pixels = pixels.cpu()
        self.hashes[places] = line_hashes(pixels[:, :, hashed_lines(pixels.shape[2])].numpy())
        if self.blocks is not None:
            blocks = thumbnails([pixels]).numpy()
            if not self.blocks.size:
                self.blocks = np.empty((len(self.read), *blocks.shape[1:]), np.uint8)
            self.blocks[places] = blocks
        self.read[places] = True


@dataclass(frozen=True)
class ReadOnce:
    """An image set, or a part of one, that keeps what is needed to compare the images that
    `batches` has read. Otherwise it is `images`, see ImageSet.

    offset: the index of its first image in the whole set, which `seen` is of.
    """

    images: ImageSet
    seen: Seen = field(repr=False)
    offset: int = 0

    @property
    def path(self) -> Path:
        """See ImageSet."""
        return self.images.path

    @property
    def file(self) -> Path | None:
        """See ImageSet."""
        return self.images.file

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """See ImageSet."""
        return self.images.input_shape

    @property
    def labels(self) -> NDArray[np.int64]:
        """See ImageSet."""
        return self.images.labels

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """See ImageSet."""
        return self.images.class_names

    @property
    def first(self) -> int:
        """See ImageSet."""
        return self.images.first

    def __len__(self) -> int:
        return len(self.images)

    def part(self, start: int, stop: int) -> Self:
        """See ImageSet."""
        return replace(self, images=self.images.part(start, stop), offset=self.offset + start)

    def labelled(self, labels: int | NDArray[np.int64]) -> Self:
        """See ImageSet."""
        return replace(self, images=self.images.labelled(labels))

    def batches(
        self, size: int = BATCH_SIZE, readers: int | None = None
    ) -> Generator[ImageBatch, None, None]:
        """See ImageSet."""
        at = self.offset
        # Several batches at once: for a few images every operation of a thumbnail does too little.
        for batch in self.images.batches(size * max(PAIRING_BATCH // size, 1), readers):
            self.seen.add(at, batch.pixels)
            at += len(batch.pixels)
            for parts in zip(
                torch.split(batch.pixels, size), torch.split(batch.labels, size), strict=True
            ):
                yield ImageBatch(*parts)

    def lines(self, first: int, step: int) -> Generator[NDArray[np.generic], None, None]:
        """See ImageSet."""
        return self.images.lines(first, step)

    def select(self, indices: Sequence[int]) -> ImageBatch:
        """See ImageSet."""
        return self.images.select(indices)

    def paired_with(self, clean: ImageSet) -> Pairing:
        """See ImageSet."""
        if isinstance(clean, ReadOnce):
            blocks, clean_blocks = self.thumbnails(), clean.thumbnails()
            if blocks is not None and clean_blocks is not None:
                return pair_thumbnails(clean_blocks, clean.labels, blocks)
        return self.images.paired_with(clean)

    def thumbnails(self) -> Tensor | None:
        """Those of all images, (images, blocks, channels, values), uint8; None where none are
        made. Raises InputError as `batches` does."""
        if self.seen.blocks is None:
            return None
        self._read_rest()
        return torch.from_numpy(self.seen.blocks[self.offset : self.offset + len(self)])

    def line_hashes(self) -> NDArray[np.int64]:
        """Those of all images, (images,). Raises InputError as `batches` does."""
        self._read_rest()
        return self.seen.hashes[self.offset : self.offset + len(self)]

    def _read_rest(self) -> None:
        """Read the images that nothing has read yet: an interrupted run has swept some before, or
        another process does."""
        read = self.seen.read[self.offset : self.offset + len(self)]
        edges = np.flatnonzero(np.diff(np.concatenate([[True], read, [True]])))
        for start, stop in edges.reshape(-1, 2).tolist():
            for _ in self.part(start, stop).batches():
                pass


def read_once(sets: ImageSets) -> ImageSets:
    """The same sets, whose images are not read again to be compared with each other."""
    paired = sets.clean_test is not None and bool(sets.poisoned_tests)

    def once(images: ImageSet, *, paired: bool) -> ReadOnce:
        return ReadOnce(images, Seen.nothing(len(images), paired=paired))

    return ImageSets(
        once(sets.clean_valid, paired=False),
        None if sets.clean_test is None else once(sets.clean_test, paired=paired),
        tuple(once(images, paired=paired) for images in sets.poisoned_tests),
    )
