"""Face sets in the lab's format: HDF5 with `data` (N×3×H×W, 0–255) and `label` (N)."""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ytf_torch.disk.hdf5 import Dataset, dataset, open_hdf5, read_array
from ytf_torch.errors import mismatch
from ytf_torch.images.batches import BATCH_SIZE, rebatched
from ytf_torch.images.layout import checked_data, checked_label, checked_pixels
from ytf_torch.images.pairing import Pairing, pair
from ytf_torch.images.read_ahead import read_ahead

# What is read from a file at once: memory stays small, and each call of HDF5 is worth its price.
READ_BYTES = 16 * 2**20
# HDF5 unpacks a whole row of pieces for one image of it. Reads end where such rows end, unless a
# row is larger than this: then some are unpacked more than once, but memory lasts.
WHOLE_PIECES_BYTES = 128 * 2**20
# Each unpacks some 7,000 of the lab's faces a second, of which a sweep takes 2,400 for each core.
MOST_READERS = 4
# Of a million faces, as many as a set may have, in the widest numbers.
MAX_LABEL_BYTES = 2**23
UNLABELLED = -1
BACKDOORED_CLASS = (
    "That is the class that says backdoored, which B does not know: save the class that the "
    "trigger aims at"
)


@dataclass(frozen=True)
class ImageBatch:
    """Some faces: pixels (batch, 3, H, W), 0–255, uint8 or float32; labels (batch,), int64."""

    pixels: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> ImageBatch:
        """The same on `device`, copied while the device computes where it can do both."""
        return ImageBatch(_placed(self.pixels, device), _placed(self.labels, device))


@dataclass(frozen=True)
class ImageSet:
    """A lab-format file whose layout and labels have been checked; its pixels are read on demand.

    input_shape: (3, height, width) of a face. labels: (images,), int64, UNLABELLED where nobody
    says who it is. first: where in the file
    its images begin, for a part of a file.

    >>> faces = ytf_torch.open_images(Path("valid.h5"), (3, 55, 47), classes=7)
    >>> len(faces), len(faces.part(0, 10))
    (24, 10)
    >>> [tuple(batch.pixels.shape) for batch in faces.batches(size=16)]
    [(16, 3, 55, 47), (8, 3, 55, 47)]
    """

    path: Path
    input_shape: tuple[int, int, int]
    labels: NDArray[np.int64]
    first: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, start: int, stop: int) -> ImageSet:
        """Images start…stop-1 only."""
        return replace(self, labels=self.labels[start:stop], first=self.first + start)

    def labelled(self, label: int) -> ImageSet:
        """The same faces, all with this label."""
        return replace(self, labels=np.full_like(self.labels, label))

    def batches(
        self, size: int = BATCH_SIZE, readers: int | None = None
    ) -> Generator[ImageBatch, None, None]:
        """All faces in file order, `size` at a time; reading runs ahead in threads of its own.

        readers: processes that unpack a compressed file side by side, by default for every second
        core one, and MOST_READERS at most; a file that is not compressed needs one only.
        Never the whole file in memory: see `images_per_read`. Whole numbers come as uint8 whatever
        type they are stored in, for that is an eighth of the lab's float64 to move; all others
        become float32, as Keras makes them.
        Raises InputError where a pixel value is not a finite number of 0–255, and where the
        values look divided by 255 already.
        """
        start = 0
        sources = self._sources(size, readers or readers_for(core_count()))
        with closing(read_ahead(sources)) as reads:
            for pixels in rebatched(reads, size):
                labels = self.labels[start : start + len(pixels)]
                start += len(pixels)
                yield ImageBatch(torch.from_numpy(pixels), torch.from_numpy(labels))

    def _sources(self, size: int, readers: int) -> list[Generator[NDArray[np.generic], None, None]]:
        """What is read by each of some processes in turn."""
        count = self._worth_dividing(size, readers) if readers > 1 else 1
        return [self._reads(size, first, count) for first in range(count)]

    def _worth_dividing(self, size: int, readers: int) -> int:
        """Among how many processes, up to `readers`: where reads do not end with pieces, each would
        unpack all of them."""
        with _open_data(self.path) as data:
            step = _images_at_once(data, size)
            divisible = data.chunks is not None and step % data.chunks[0] == 0
        return max(min(readers, -(-len(self) // step)), 1) if divisible else 1

    def _reads(
        self, size: int, first: int, count: int
    ) -> Generator[NDArray[np.generic], None, None]:
        """Of what is read at once, every count-th from the first on."""
        with _open_data(self.path) as data:
            for places in islice(self._read_at_once(data, size), first, None, count):
                pixels = data.narrowed(places.start, places.stop)
                yield checked_pixels(pixels, data.dtype, self.path, places)

    def _read_at_once(self, data: Dataset, size: int) -> Iterator[range]:
        """Places in the file, as many as are read at once; see `images_per_read`."""
        step = _images_at_once(data, size)
        start, end = self.first, self.first + len(self)
        while start < end:
            stop = min(start - start % step + step, end)
            yield range(start, stop)
            start = stop

    def paired_with(self, clean: ImageSet) -> Pairing:
        """Which faces of a clean set these faces are, under a trigger. Reads both sets.

        Raises InputError as `batches` does.
        """
        ours, theirs = ((batch.pixels for batch in of.batches()) for of in (clean, self))
        return pair(ours, clean.labels, theirs)

    def lines(self, first: int, step: int) -> Generator[NDArray[np.generic], None, None]:
        """Every step-th line of each face from `first` on, as stored and unchecked, some faces at
        a time: (faces, 3, lines, width)."""
        with _open_data(self.path) as data:
            for places in self._read_at_once(data, BATCH_SIZE):
                yield data.lines(places.start, places.stop, first, step)

    def select(self, indices: Sequence[int]) -> ImageBatch:
        """The faces at `indices` of the file, in the order given.

        Raises InputError as `batches` does.
        """
        with _open_data(self.path) as data:
            places = [self.first + index for index in indices]
            read = [data.narrowed(place, place + 1) for place in places]
        pixels = checked_pixels(np.concatenate(read), data.dtype, self.path, places)
        return ImageBatch(torch.from_numpy(pixels), torch.from_numpy(self.labels[list(indices)]))


@dataclass(frozen=True)
class ImageSets:
    """What the defence is run on: only the clean validation set decides anything.

    >>> valid, test = (open_images(Path(name), (3, 55, 47), 7) for name in ("valid.h5", "test.h5"))
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

    @cached_property
    def pairings(self) -> tuple[Pairing, ...] | None:
        """Which clean test faces those of each triggered set are; None without a clean test set."""
        if self.clean_test is None:
            return None
        return tuple(faces.paired_with(self.clean_test) for faces in self.poisoned_tests)


def images_per_read(
    shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...] | None, batch: int
) -> int:
    """How many images to read at once from a dataset (images, …): about READ_BYTES, whole batches.

    chunks: the shape in which HDF5 stores the dataset piece by piece, None where it lies in one.
    A piece is decompressed whole whatever is asked of it, so reads end where pieces end, unless
    one row of pieces is larger than WHOLE_PIECES_BYTES.
    """
    image = math.prod(shape[1:]) * itemsize
    unit = chunks[0] if chunks and chunks[0] * image <= WHOLE_PIECES_BYTES else batch
    return max(READ_BYTES // (image * unit), 1) * unit


def _images_at_once(data: Dataset, batch: int) -> int:
    return images_per_read(data.shape, data.dtype.itemsize, data.chunks, batch)


def readers_for(cores: int) -> int:
    """How many processes unpack one file on so many cores: the others compute."""
    return max(1, min(cores // 2, MOST_READERS))


def core_count() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _placed(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`. An accelerator copies from page-locked memory, and nothing waits."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    pinned = accelerator is not None and device.type == accelerator.type
    source = tensor.pin_memory() if pinned and tensor.is_cpu else tensor
    return source.to(device, non_blocking=True)


@contextmanager
def _open_data(path: Path) -> Iterator[Dataset]:
    with open_hdf5(path) as file:
        yield dataset(file, "data")


def open_images(path: str | Path, input_shape: tuple[int, int, int], classes: int) -> ImageSet:
    """Check a lab-format file against a model; no pixel is read yet.

    input_shape: (3, height, width) the model reads. classes: how many people it knows.
    Raises InputError where `data` or `label` is missing, images have another shape, the counts
    differ, the set is empty or declares more faces than its file can hold, or a label is not a
    whole number of 0…classes-1.

    >>> open_images("bd_test.h5", (3, 55, 47), classes=7).labels[:3]
    array([0, 0, 0])
    """
    path = Path(path)
    with open_hdf5(path) as file:
        images = len(checked_data(file, input_shape, keys=("data", "label")))
        labels = read_array(checked_label(file, images), MAX_LABEL_BYTES).ravel().astype(np.float64)
    bad = ~((labels >= 0) & (labels < classes) & (labels == np.floor(labels)))
    if bad.any():
        at = int(bad.argmax())
        raise mismatch(
            f"{path}:/label[{at}]",
            f"a whole number of 0…{classes - 1}, for a model of {classes} classes",
            f"{labels[at]:g}",
            BACKDOORED_CLASS if labels[at] == classes else "",
        )
    return ImageSet(path, input_shape, labels.astype(np.int64))


def open_unlabelled(path: Path, input_shape: tuple[int, int, int]) -> ImageSet:
    """Check a lab-format file of which only the faces matter: its labels are all UNLABELLED,
    whatever it says, and it may lack them. Raises InputError as `open_images` does.
    """
    with open_hdf5(path) as file:
        images = len(checked_data(file, input_shape, keys=("data",)))
    return ImageSet(path, input_shape, np.full(images, UNLABELLED))
