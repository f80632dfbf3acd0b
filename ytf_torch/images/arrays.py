"""Image sets in memory: arrays of the caller, or files that are read as a whole."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ytf_torch.errors import InputError, argument, mismatch
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.image_set import CheckedSet, ImageBatch
from ytf_torch.images.layout import pixel_fault
from ytf_torch.images.photos import PHOTO_CHANNELS

IN_MEMORY = Path("images in memory")


@dataclass(frozen=True, repr=False)
class ImagesInMemory(CheckedSet):
    """An image set whose pixels (images, channels, H, W), uint8 or float32, are all in memory.

    file: the file or folder that they were read from, None for arrays.

    >>> images = images_of(pixels, [0] * 24)
    >>> len(images), images.file
    (24, None)
    """

    pixels: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)
    file: Path | None = None

    def __repr__(self) -> str:
        _, height, width = self.input_shape
        return f"ImagesInMemory({len(self):,} images of {height}×{width})"

    def batches(
        self, size: int = BATCH_SIZE, readers: int | None = None
    ) -> Generator[ImageBatch, None, None]:
        """See ImageSet. `readers` is ignored, as there is nothing to decompress."""
        labels = torch.from_numpy(self.labels)
        part = self.pixels[self.first : self.first + len(self)]
        for pixels, classes in zip(torch.split(part, size), torch.split(labels, size), strict=True):
            yield ImageBatch(pixels, classes)

    def lines(self, first: int, step: int) -> Generator[NDArray[np.generic], None, None]:
        """See ImageSet."""
        part = self.pixels[self.first : self.first + len(self)]
        yield part[:, :, first::step].numpy()

    def select(self, indices: Sequence[int]) -> ImageBatch:
        """See ImageSet."""
        places = [self.first + index for index in indices]
        return ImageBatch(self.pixels[places], torch.from_numpy(self.labels[list(indices)]))


def images_of(
    pixels: ArrayLike | Tensor,
    labels: ArrayLike | Tensor,
    class_names: Sequence[str] | None = None,
) -> ImagesInMemory:
    """An image set from arrays: NumPy arrays, tensors, or anything that converts to them.

    pixels: (images, channels, height, width), values 0–255. labels: (images,), whole numbers.
    class_names: the names of the classes, by label. Raises InputError for wrong shapes, values or
    labels.

    >>> images_of(np.full((2, 3, 55, 47), 128), [0, 4])
    ImagesInMemory(2 images of 55×47)
    """
    values = numbers_of(pixels, "pixels")
    first, last = (values.shape[axis : axis + 1] for axis in (1, 3))
    usual = [(channels,) for channels in PHOTO_CHANNELS]
    # Rather channels last than images that are 1, 3 or 4 pixels wide.
    is_last = last in usual and first not in usual
    if values.ndim == 4 and not len(values):
        raise InputError(argument("pixels"), "the set is empty")
    if values.ndim != 4 or not values.size or is_last:
        remedy = "Give pixels.transpose(0, 3, 1, 2)" if is_last else ""
        remedy = "Give pixels[:, None] for grey images" if values.ndim == 3 else remedy
        expected = "(images, channels, height, width)"
        raise mismatch(argument("pixels"), expected, values.shape, remedy)
    _, channels, height, width = values.shape
    classes = _labels(labels, len(values))
    names = None if class_names is None else tuple(map(str, class_names))
    shape = (channels, height, width)
    return ImagesInMemory(IN_MEMORY, shape, classes, class_names=names, pixels=pixels_of(values))


def pixels_of(values: NDArray[Any]) -> Tensor:
    """Images (images, channels, height, width) in a dtype that networks read: uint8 as it is, any
    other as float32, like Keras. Raises InputError for values outside 0–255, naming the first
    image that has one."""
    fault = pixel_fault(values, values.dtype) if values.size else None
    if fault is not None:
        example = f", such as {fault.formula.format('pixels')}" if fault.formula else ""
        remedy = f"Give raw pixels{example}: the network itself applies its pixel scale"
        where = f"{argument('pixels')}, image {fault.image}"
        raise mismatch(where, "pixel values of 0–255", fault.found, remedy)
    dtype = np.uint8 if values.dtype == np.uint8 else np.float32
    return torch.from_numpy(np.ascontiguousarray(values, dtype=dtype))


def _labels(labels: ArrayLike | Tensor, images: int) -> NDArray[np.int64]:
    """Labels as (images,), int64. Raises InputError for another count, or for values that are not
    whole numbers of 0 or more."""
    classes = numbers_of(labels, "labels")
    expected = f"{images} whole numbers, the class of each image"
    if classes.size != images:
        one_hot = classes.ndim == 2 and len(classes) == images
        shape = "×".join(map(str, classes.shape)) or "one number"
        remedy = "Give labels.argmax(1)" if one_hot else ""
        shape = f"{shape} (one-hot)" if one_hot else shape
        raise mismatch(argument("labels"), expected, shape, remedy)
    classes = classes.ravel()
    wrong = ~(np.isfinite(classes) & (classes == np.floor(classes)) & (classes >= 0))
    if wrong.any():
        at = int(wrong.argmax())
        raise mismatch(argument("labels"), f"{expected}, 0 or more", f"{classes[at]} at {at}")
    return classes.astype(np.int64)


def numbers_of(values: ArrayLike | Tensor, name: str) -> NDArray[Any]:
    """Convert a tensor, or anything array-like, to a numeric NumPy array.

    name: the argument's name, for the error. Raises InputError for anything else, such as texts or
    rows of different lengths.
    """
    if isinstance(values, Tensor):
        tensor = values.detach().cpu()
        # NumPy has no bfloat16; float32 represents all of its values exactly.
        array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    else:
        try:
            array = np.asarray(values)
        except (TypeError, ValueError) as error:  # a ragged nested list, or no array at all
            raise mismatch(argument(name), "an array of one shape", "parts that differ") from error
    if array.dtype.kind not in "buif":
        actual = f"{array.dtype} of shape {array.shape}"
        raise mismatch(argument(name), "an array of numbers", actual)
    return array
