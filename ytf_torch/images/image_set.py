"""The ImageSet protocol, whatever an image set is stored in, and the sets that a defence uses."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.pairing import Pairing, pair

UNLABELLED = -1

# Images at once when sets are paired: in the batches of a network every core has too little to do.
PAIRING_BATCH = 256


@dataclass(frozen=True)
class ImageBatch:
    """A batch: pixels (batch, channels, H, W), 0–255, uint8 or float32; labels (batch,), int64."""

    pixels: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> ImageBatch:
        """Copy the batch to `device`, asynchronously if the device supports it."""
        return ImageBatch(_placed(self.pixels, device), _placed(self.labels, device))


@runtime_checkable
class ImageSet(Protocol):
    """Labelled images of one size: an HDF5 file, an .npz, a folder of images, or arrays.

    >>> images = ytf_torch.open_images(Path("valid.h5"), (3, 55, 47), classes=7)
    >>> len(images), len(images.part(0, 10))
    (24, 10)
    >>> [tuple(batch.pixels.shape) for batch in images.batches(size=16)]
    [(16, 3, 55, 47), (8, 3, 55, 47)]
    """

    @property
    def path(self) -> Path:
        """The set's name in messages: the path that it was read from, or "images in memory"."""

    @property
    def file(self) -> Path | None:
        """The file or folder that the images are read from, None for arrays."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label of each image, (images,), int64; UNLABELLED if it is not known."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes, by label; None if only their numbers are known."""

    @property
    def first(self) -> int:
        """For a part of a set, the index of its first image in the whole set; else 0."""

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Self:
        """The images start…stop-1 as an image set."""
        ...

    def labelled(self, labels: int | NDArray[np.int64]) -> Self:
        """The same images with one label for all, or with labels (images,)."""
        ...

    def batches(
        self, size: int = BATCH_SIZE, readers: int | None = None
    ) -> Generator[ImageBatch, None, None]:
        """All images in order, `size` at a time. readers: processes that read in parallel.

        Raises InputError if a pixel value is not a finite number of 0–255, or if the values seem to
        be divided by 255 already.
        """
        ...

    def lines(self, first: int, step: int) -> Generator[NDArray[np.generic], None, None]:
        """Lines first, first + step, … of each image, some images at a time: (images, channels,
        lines, width), in the stored dtype, values not checked."""
        ...

    def select(self, indices: Sequence[int]) -> ImageBatch:
        """The images at `indices`, in the order given. Raises InputError as `batches` does."""
        ...

    def paired_with(self, clean: ImageSet) -> Pairing:
        """The clean image that each of these triggered images was made from. Reads both sets.

        Raises InputError as `batches` does.
        """
        ...


@dataclass(frozen=True)
class CheckedSet:
    """Base of this package's image sets, wherever their pixels are stored. See ImageSet."""

    path: Path
    input_shape: tuple[int, int, int]
    labels: NDArray[np.int64]
    first: int = 0
    class_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, start: int, stop: int) -> Self:
        """See ImageSet."""
        return replace(self, labels=self.labels[start:stop], first=self.first + start)

    def labelled(self, labels: int | NDArray[np.int64]) -> Self:
        """See ImageSet."""
        return replace(self, labels=np.full_like(self.labels, labels))

    def called(self, path: Path) -> Self:
        """The same images with another path in messages."""
        return replace(self, path=path)

    def batches(
        self, size: int = BATCH_SIZE, readers: int | None = None
    ) -> Generator[ImageBatch, None, None]:
        """See ImageSet."""
        raise NotImplementedError

    def paired_with(self, clean: ImageSet) -> Pairing:
        """See ImageSet."""
        clean_pixels, triggered_pixels = (
            (batch.pixels for batch in images.batches(PAIRING_BATCH)) for images in (clean, self)
        )
        return pair(clean_pixels, clean.labels, triggered_pixels)


@dataclass(frozen=True)
class ImageSets:
    """The sets of a run. Only the clean validation set influences a defence's decisions; the other
    sets are measured.

    >>> valid = ytf_torch.open_images("valid.h5", (3, 55, 47), 7)
    >>> test = ytf_torch.open_images("test.h5", (3, 55, 47), 7)
    >>> len(ImageSets(clean_valid=valid, clean_test=test).measured)
    1
    """

    clean_valid: ImageSet
    clean_test: ImageSet | None = None
    poisoned_tests: tuple[ImageSet, ...] = ()

    @property
    def measured(self) -> tuple[ImageSet, ...]:
        """The test sets: evaluated at every step, never used to decide."""
        return (*((self.clean_test,) if self.clean_test else ()), *self.poisoned_tests)

    @property
    def every(self) -> tuple[ImageSet, ...]:
        """The clean validation set, followed by `measured`."""
        return (self.clean_valid, *self.measured)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The class names of the first set that has any."""
        return next((images.class_names for images in self.every if images.class_names), None)

    @cached_property
    def pairings(self) -> tuple[Pairing, ...] | None:
        """For each triggered set, the clean test images that it was made from; None without a clean
        test set."""
        if self.clean_test is None:
            return None
        return tuple(images.paired_with(self.clean_test) for images in self.poisoned_tests)


def _placed(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`. Only page-locked (pinned) memory is copied asynchronously."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    pinned = accelerator is not None and device.type == accelerator.type
    source = tensor.pin_memory() if pinned and tensor.is_cpu else tensor
    return source.to(device, non_blocking=True)
