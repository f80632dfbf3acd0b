"""Datasets and loaders of PyTorch that give (image, label), read into memory as image sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ytf_torch.errors import InputError, argument, mismatch
from ytf_torch.images.arrays import ImagesInMemory, images_of, numbers_of
from ytf_torch.images.layout import MAX_BYTES_IN_MEMORY

Samples = Dataset[Any] | DataLoader[Any]
WHITE = 255
# How far from a whole number a pixel value may be that ToTensor divided and we multiply by 255.
ROUNDING = 1e-3
# How far resizing with a bicubic filter leads outside 0–1.
OVERSHOOT = 0.3
CLAMP = "Clamp them to 0–1 in its transform"
WITHOUT_NORMALIZE = (
    "Leave Normalize out of its transform: it belongs to the network, as in "
    'ytf_torch.wrap(module, …, preprocessing="torch")'
)
# Pictures of Pillow that are taken as they are; all others become RGB.
MODES = ("L", "RGB", "RGBA")


def images_of_samples(samples: Samples, name: str) -> ImagesInMemory:
    """The images of a dataset or loader, read once, in its order. name: of the argument.

    Images are pictures of Pillow, or arrays (channels, height, width) of pixel values: 0–255, or in
    floating point 0–1 as torchvision's ToTensor gives, which are multiplied by 255 again.
    Raises InputError where it gives anything else, or more than there is memory for.
    """
    where = argument(name)
    try:
        pixels, labels = _read(samples, where)
        return images_of(pixels, labels)
    except InputError as error:
        inside, problem, remedy = error.args
        outside = inside if inside.startswith(where) else f"{where}, {inside}"
        raise InputError(outside, problem, remedy) from error


def _read(samples: Samples, where: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """All pixel values (images, channels, height, width) and labels (images,)."""
    images: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    taken = 0
    for pixels, classes in _batches(samples, where):
        if images and pixels.shape[1:] != images[0].shape[1:]:
            sizes = ["×".join(map(str, part.shape[1:])) for part in (images[0], pixels)]
            place = sum(map(len, images))
            remedy = "Resize them in its transform"
            raise mismatch(
                f"{where}, image {place}", f"{sizes[0]}, as the others", sizes[1], remedy
            )
        images.append(pixels)
        labels.append(classes)
        taken += pixels.nbytes
        if taken > MAX_BYTES_IN_MEMORY:
            most = f"images of at most {MAX_BYTES_IN_MEMORY:,} bytes"
            raise InputError(where, f"expected {most}, found more", "Give torch.utils.data.Subset")
    if not images:
        raise InputError(where, "the set is empty")
    return np.concatenate(_pixel_values(images, where)), np.concatenate(labels)


def _batches(samples: Samples, where: str) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Images (images, channels, height, width) as they are given, and their labels (images,)."""
    for place, sample in enumerate(_items(samples)):
        if not isinstance(sample, list | tuple) or len(sample) < 2:
            unit = "batch" if isinstance(samples, DataLoader) else "item"
            found = f"a {type(sample).__name__}"
            raise mismatch(f"{where}, {unit} {place}", "(image, label)", found)
        image, label = sample[0], numbers_of(sample[1], "labels")
        if isinstance(samples, DataLoader):
            yield numbers_of(image, "pixels"), label
        else:
            yield _pixels(image)[None], label[None]


def _items(samples: Samples) -> Iterator[Any]:
    """Each sample, or each batch of a loader."""
    if isinstance(samples, DataLoader | IterableDataset):
        yield from samples
    else:  # which need not end by itself, where it is asked for item after item
        yield from (samples[place] for place in range(len(samples)))  # type: ignore[arg-type]


def _pixels(image: object) -> NDArray[Any]:
    """One image as it is given, channels first."""
    if not isinstance(image, Image.Image):
        pixels = numbers_of(image, "pixels")  # type: ignore[arg-type]
        return pixels[None] if pixels.ndim == 2 else pixels
    plain = image if image.mode in MODES else image.convert("RGB")
    pixels = np.asarray(plain)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _pixel_values(images: list[NDArray[Any]], where: str) -> list[NDArray[Any]]:
    """Pixel values 0–255 of what a dataset gave. Raises InputError for normalised ones."""
    if all(part.dtype.kind != "f" for part in images) or not images[0].size:
        return images
    lowest = min(float(part.min()) for part in images)
    highest = max(float(part.max()) for part in images)
    if lowest < 0 or 1 < highest < 2:  # a set of pixel values 0 and 1 would be black
        near = lowest > -OVERSHOOT and highest < 1 + OVERSHOOT
        remedy = CLAMP if near else WITHOUT_NORMALIZE
        found = f"{lowest:g} to {highest:g}"
        raise mismatch(where, "pixel values of 0–255, or of 0–1", found, remedy)
    if not highest <= 1:
        return images
    whole = [values for part in images if (values := _bytes(part)) is not None]
    return whole if len(whole) == len(images) else [part * np.float32(WHITE) for part in images]


def _bytes(part: NDArray[Any]) -> NDArray[np.uint8] | None:
    """The pixel values that ToTensor divided by 255; None where they were none."""
    scaled = part * np.float32(WHITE)
    whole = scaled.round()
    return whole.astype(np.uint8) if bool((np.abs(scaled - whole) < ROUNDING).all()) else None
