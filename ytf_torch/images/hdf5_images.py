"""Image sets in the lab's format: HDF5 with `data` (N×C×H×W, 0–255) and `label` (N).

Such a file may be larger than memory. It is read in pieces of about READ_BYTES, by background
threads, each of which drives a sandboxed reader process.
"""

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

# HDF5 decompresses a whole row of chunks to read one image of it. Reads therefore end at row
# boundaries, unless a row is larger than this limit: then some chunks are decompressed more than
# once, which bounds memory.
WHOLE_PIECES_BYTES = 128 * 2**20
# Each reader decompresses about 7,000 of the lab's images a second; a sweep processes 2,400 a
# second per core.
MOST_READERS = 4
# A million labels, the most that a set may have, of 8 bytes each.
MAX_LABEL_BYTES = 2**23


@dataclass(frozen=True)
class HDF5Images(CheckedSet):
    """A lab-format file whose layout and labels have been checked. Pixels are read on demand."""

    @property
    def file(self) -> Path:
        """The file that the images are in."""
        return self.path

    def batches(
        self, size: int = BATCH_SIZE, readers: int | None = None
    ) -> Generator[ImageBatch, None, None]:
        """All images in file order, `size` at a time, read ahead by background threads.

        readers: processes that decompress in parallel; default: half the cores, at most
        MOST_READERS. A file without chunks is read by one.
        Only a part of the file is in memory at a time (`images_per_read`). Whole numbers are
        returned as uint8 whatever their stored dtype, an eighth of the bytes of the lab's float64;
        other values as float32, like Keras.
        Raises InputError if a pixel value is not a finite number of 0–255, or if the values seem to
        be divided by 255 already.
        """
        start = 0
        sources = self._sources(size, readers or readers_for(core_count()))
        with closing(read_ahead(sources)) as reads:
            for pixels in rebatched(reads, size):
                labels = self.labels[start : start + len(pixels)]
                start += len(pixels)
                yield ImageBatch(torch.from_numpy(pixels), torch.from_numpy(labels))

    def _sources(self, size: int, readers: int) -> list[Generator[NDArray[np.generic], None, None]]:
        """One generator of pixel arrays for each reader; the readers take turns."""
        count = self._useful_readers(size, readers) if readers > 1 else 1
        return [self._reads(size, first, count) for first in range(count)]

    def _useful_readers(self, size: int, readers: int) -> int:
        """How many of `readers` to use. Only one if reads do not end at chunk boundaries: several
        readers would each decompress the same chunks."""
        with _open_data(self.path) as data:
            step = _images_at_once(data, size)
            divisible = data.chunks is not None and step % data.chunks[0] == 0
        return max(min(readers, -(-len(self) // step)), 1) if divisible else 1

    def _reads(
        self, size: int, first: int, count: int
    ) -> Generator[NDArray[np.generic], None, None]:
        """The pixels of every count-th read, starting with number `first`."""
        with _open_data(self.path) as data:
            for indices in islice(self._ranges(data, size), first, None, count):
                pixels = data.narrowed(indices.start, indices.stop)
                yield checked_pixels(pixels, data.dtype, self.path, indices)

    def _ranges(self, data: Dataset, size: int) -> Iterator[range]:
        """The indices in the file of each read; see `images_per_read`."""
        step = _images_at_once(data, size)
        start, end = self.first, self.first + len(self)
        while start < end:
            stop = min(start - start % step + step, end)  # the next multiple of `step`
            yield range(start, stop)
            start = stop

    def lines(self, first: int, step: int) -> Generator[NDArray[np.generic], None, None]:
        """See ImageSet."""
        with _open_data(self.path) as data:
            for indices in self._ranges(data, BATCH_SIZE):
                yield data.lines(indices.start, indices.stop, first, step)

    def select(self, indices: Sequence[int]) -> ImageBatch:
        """See ImageSet."""
        with _open_data(self.path) as data:
            places = [self.first + index for index in indices]
            images = [data.narrowed(place, place + 1) for place in places]
        pixels = checked_pixels(np.concatenate(images), data.dtype, self.path, places)
        return ImageBatch(torch.from_numpy(pixels), torch.from_numpy(self.labels[list(indices)]))


def images_per_read(
    shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...] | None, batch: int
) -> int:
    """How many images to read at once from a dataset (images, …): about READ_BYTES, in multiples of
    a row of chunks, or of `batch`.

    chunks: the dataset's chunk shape, None if it is contiguous. A chunk is decompressed as a whole,
    so reads end at chunk boundaries, unless a row of chunks is larger than WHOLE_PIECES_BYTES.
    """
    image = math.prod(shape[1:]) * itemsize
    unit = chunks[0] if chunks and chunks[0] * image <= WHOLE_PIECES_BYTES else batch
    return max(READ_BYTES // (image * unit), 1) * unit


def _images_at_once(data: Dataset, batch: int) -> int:
    return images_per_read(data.shape, data.dtype.itemsize, data.chunks, batch)


def readers_for(cores: int) -> int:
    """How many processes decompress one file on a machine of `cores`; the other cores compute."""
    return max(1, min(cores // 2, MOST_READERS))


def core_count() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _open_data(path: Path) -> Iterator[Dataset]:
    with open_hdf5(path) as file:
        yield dataset(file, "data")


def open_hdf5_images(path: Path, input_shape: Shape, classes: int) -> HDF5Images | ImagesInMemory:
    """Check a lab-format file against a model. See opening.open_images.

    Pixels are not read yet, unless the axes are reversed: then all of them are (reversed_hdf5.py).
    """
    with open_hdf5(path) as file:
        data, order, images = _checked(file, input_shape, ("data", "label"))
        labels = read_array(checked_label(file, images), MAX_LABEL_BYTES)
        checked = checked_labels(labels, classes, f"{path}:/label")
        return _opened(data, order, input_shape, checked)


def open_unlabelled_hdf5(path: Path, input_shape: Shape) -> HDF5Images | ImagesInMemory:
    """Check a lab-format file and ignore its labels. See opening.open_unlabelled."""
    with open_hdf5(path) as file:
        data, order, images = _checked(file, input_shape, ("data",))
        return _opened(data, order, input_shape, np.full(images, UNLABELLED))


def _checked(
    file: Group, input_shape: Shape, keys: Sequence[str]
) -> tuple[Dataset, tuple[int, ...] | None, int]:
    """The dataset `data`, the permutation of its axes if they are reversed, and how many images it
    has."""
    check_keys(file, input_shape, keys)
    data = dataset(file, "data")
    order = reversed_order(data.shape, input_shape)
    if order is None:
        check_data(data, input_shape)
    return data, order, data.shape[-1 if order else 0]


def _opened(
    data: Dataset, order: tuple[int, ...] | None, input_shape: Shape, labels: NDArray[np.int64]
) -> HDF5Images | ImagesInMemory:
    path = data.file.path
    if order is None:
        return HDF5Images(path, input_shape, labels)
    pixels = read_reversed(data, order, input_shape)
    return ImagesInMemory(path, input_shape, labels, pixels=pixels, file=path)
