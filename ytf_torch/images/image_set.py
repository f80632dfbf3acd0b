"""What an image set is, whatever it is stored in, and the sets that a defence is run on."""

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


@dataclass(frozen=True)
class ImageBatch:
    """Some images: pixels (batch, channels, H, W), 0–255, uint8 or float32; labels (batch,)."""

    pixels: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> ImageBatch:
        """The same on `device`, copied while the device computes where it can do both."""
        return ImageBatch(_placed(self.pixels, device), _placed(self.labels, device))


@runtime_checkable
class ImageSet(Protocol):
    """Labelled images of one size: an HDF5 file, an .npz, a folder of pictures, or arrays.

    >>> images = ytf_torch.open_images(Path("valid.h5"), (3, 55, 47), classes=7)
    >>> len(images), len(images.part(0, 10))
    (24, 10)
    >>> [tuple(batch.pixels.shape) for batch in images.batches(size=16)]
    [(16, 3, 55, 47), (8, 3, 55, 47)]
    """

    @property
    def path(self) -> Path:
        """What to call the set: where it was read from, or the argument that it was given as."""

    @property
    def file(self) -> Path | None:
        """The file or folder that the images are in; None for arrays."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(images,), UNLABELLED where nobody says what is on it."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the classes are called, by label; None where only their numbers are known."""

    @property
    def first(self) -> int:
        """Where in the whole set these images begin, for a part of it."""

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Self:
        """Images start…stop-1 only."""
        ...

    def labelled(self, labels: int | NDArray[np.int64]) -> Self:
        """The same images with this label, or with these labels (images,)."""
        ...

    def batches(
        self, size: int = BATCH_SIZE, readers: int | None = None
    ) -> Generator[ImageBatch, None, None]:
        """All images in order, `size` at a time. readers: processes that read side by side.

        Raises InputError where a pixel value is not a finite number of 0–255, and where the
        values look divided by 255 already.
        """
        ...

    def lines(self, first: int, step: int) -> Generator[NDArray[np.generic], None, None]:
        """Every step-th line of each image from `first` on, as stored and unchecked, some images
        at a time: (images, channels, lines, width)."""
        ...

    def select(self, indices: Sequence[int]) -> ImageBatch:
        """The images at `indices`, in the order given. Raises InputError as `batches` does."""
        ...

    def paired_with(self, clean: ImageSet) -> Pairing:
        """Which images of a clean set these are, under a trigger. Reads both sets.

        Raises InputError as `batches` does.
        """
        ...


@dataclass(frozen=True)
class CheckedSet:
    """What all sets of this package have, wherever their pixels are: see ImageSet."""

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
        """The same images under another name."""
        return replace(self, path=path)

    def batches(
        self, size: int = BATCH_SIZE, readers: int | None = None
    ) -> Generator[ImageBatch, None, None]:
        """See ImageSet."""
        raise NotImplementedError

    def paired_with(self, clean: ImageSet) -> Pairing:
        """See ImageSet."""
        ours, theirs = ((batch.pixels for batch in of.batches()) for of in (clean, self))
        return pair(ours, clean.labels, theirs)


@dataclass(frozen=True)
class ImageSets:
    """What the defence is run on: only the clean validation set decides anything.

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
        """The sets that are evaluated at every step and never used to choose."""
        return (*((self.clean_test,) if self.clean_test else ()), *self.poisoned_tests)

    @property
    def every(self) -> tuple[ImageSet, ...]:
        """The clean validation set, then those that are measured."""
        return (self.clean_valid, *self.measured)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the classes are called, where one of the sets tells it."""
        return next((images.class_names for images in self.every if images.class_names), None)

    @cached_property
    def pairings(self) -> tuple[Pairing, ...] | None:
        """Which clean test faces those of each triggered set are; None without a clean test set."""
        if self.clean_test is None:
            return None
        return tuple(faces.paired_with(self.clean_test) for faces in self.poisoned_tests)


def _placed(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`. An accelerator copies from page-locked memory, and nothing waits."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    pinned = accelerator is not None and device.type == accelerator.type
    source = tensor.pin_memory() if pinned and tensor.is_cpu else tensor
    return source.to(device, non_blocking=True)
