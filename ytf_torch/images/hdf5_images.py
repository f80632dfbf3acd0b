"""Image sets in the lab's format: HDF5 with `data` (N×C×H×W, 0–255) and `label` (N)."""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ytf_torch.disk.hdf5 import READ_BYTES, Dataset, Group, dataset, open_hdf5, read_array
from ytf_torch.images.arrays import ImagesInMemory
from ytf_torch.images.batches import BATCH_SIZE, rebatched
from ytf_torch.images.image_set import UNLABELLED, CheckedSet, ImageBatch
from ytf_torch.images.labels import checked_labels
from ytf_torch.images.layout import (
    Shape,
    check_data,
    check_keys,
    checked_label,
    checked_pixels,
)
from ytf_torch.images.read_ahead import read_ahead
from ytf_torch.images.reversed_hdf5 import read_reversed, reversed_order

# HDF5 decompresses a whole row of chunks for one image of it. Reads end at row boundaries, unless a
# row is larger than this: then some are decompressed more than once, which limits memory.
WHOLE_PIECES_BYTES = 128 * 2**20
# Each decompresses some 7,000 of the lab's faces a second; a sweep takes 2,400 for each core.
MOST_READERS = 4
# Of a million faces, as many as a set may have, in the widest numbers.
MAX_LABEL_BYTES = 2**23


@dataclass(frozen=True)
class HDF5Images(CheckedSet):
    """A lab-format file whose layout and labels have been checked; pixels are read on demand."""

    @property
    def file(self) -> Path:
        """The file that the images are in."""
        return self.path

    def batches(
        self, size: int = BATCH_SIZE, readers: int | None = None
    ) -> Generator[ImageBatch, None, None]:
        """All images in file order, `size` at a time; reading runs ahead in threads of its own.

        readers: processes that unpack a compressed file side by side, by default half the cores, at
        most MOST_READERS; a file that is not compressed needs one only.
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

    def lines(self, first: int, step: int) -> Generator[NDArray[np.generic], None, None]:
        """Every step-th line of each image from `first` on, as stored and unchecked, some images
        at a time: (images, channels, lines, width)."""
        with _open_data(self.path) as data:
            for places in self._read_at_once(data, BATCH_SIZE):
                yield data.lines(places.start, places.stop, first, step)

    def select(self, indices: Sequence[int]) -> ImageBatch:
        """The images at `indices` of the file, in the order given.

        Raises InputError as `batches` does.
        """
        with _open_data(self.path) as data:
            places = [self.first + index for index in indices]
            read = [data.narrowed(place, place + 1) for place in places]
        pixels = checked_pixels(np.concatenate(read), data.dtype, self.path, places)
        return ImageBatch(torch.from_numpy(pixels), torch.from_numpy(self.labels[list(indices)]))


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


@contextmanager
def _open_data(path: Path) -> Iterator[Dataset]:
    with open_hdf5(path) as file:
        yield dataset(file, "data")


def open_hdf5_images(path: Path, input_shape: Shape, classes: int) -> HDF5Images | ImagesInMemory:
    """Check a lab-format file against a model. No pixel is read yet, unless the file's axes are
    reversed: then all are, see reversed_hdf5.py. See opening.open_images."""
    with open_hdf5(path) as file:
        data, order = _checked(file, input_shape, ("data", "label"))
        images = data.shape[-1 if order else 0]
        labels = read_array(checked_label(file, images), MAX_LABEL_BYTES)
        found = checked_labels(labels, classes, f"{path}:/label")
        return _opened(data, order, input_shape, found)


def open_unlabelled_hdf5(path: Path, input_shape: Shape) -> HDF5Images | ImagesInMemory:
    """Check a lab-format file of which only the images matter. See opening.open_unlabelled."""
    with open_hdf5(path) as file:
        data, order = _checked(file, input_shape, ("data",))
        images = data.shape[-1 if order else 0]
        return _opened(data, order, input_shape, np.full(images, UNLABELLED))


def _checked(
    file: Group, input_shape: Shape, keys: Sequence[str]
) -> tuple[Dataset, tuple[int, ...] | None]:
    """The dataset `data`, and the order of its axes where they are reversed."""
    check_keys(file, input_shape, keys)
    data = dataset(file, "data")
    order = reversed_order(data.shape, input_shape)
    if order is None:
        check_data(data, input_shape)
    return data, order


def _opened(
    data: Dataset, order: tuple[int, ...] | None, input_shape: Shape, labels: NDArray[np.int64]
) -> HDF5Images | ImagesInMemory:
    path = data.file.path
    if order is None:
        return HDF5Images(path, input_shape, labels)
    pixels = read_reversed(data, order, input_shape)
    return ImagesInMemory(path, input_shape, labels, pixels=pixels, file=path)
