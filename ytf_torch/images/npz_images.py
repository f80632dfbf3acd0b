"""Image sets in NumPy's .npz: pixels and labels under the names that are usual among Keras users.

They are read into memory, some rows at a time, as uint8 if that is lossless.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ytf_torch.disk.archive import Archive, open_archive
from ytf_torch.disk.hdf5 import READ_BYTES
from ytf_torch.errors import InputError, mismatch
from ytf_torch.images.arrays import ImagesInMemory
from ytf_torch.images.hdf5_images import MAX_LABEL_BYTES
from ytf_torch.images.image_set import UNLABELLED
from ytf_torch.images.labels import checked_labels, miscounted
from ytf_torch.images.layout import (
    MAX_IMAGES,
    Shape,
    check_in_memory,
    misshapen,
    pixel_fault,
)

NAMES = {"x": "y", "x_test": "y_test", "x_train": "y_train", "data": "label"}
"""Names of the pixels that are recognised, and the name of the labels that belong to each."""
EXPECTED = ", ".join(f"`{x}` and `{y}`" for x, y in NAMES.items())
SAVE = "np.savez_compressed('images.npz', x=…, y=…)"
END = ".npy"


def open_npz(path: Path, input_shape: Shape, classes: int) -> ImagesInMemory:
    """Images and labels of an .npz. See opening.open_images.

    Pixels may be N×C×H×W, N×H×W×C or, with one channel, N×H×W; the network's input shape decides.
    Raises InputError also if the file contains several sets.
    """
    with open_archive(path, "an .npz") as archive:
        name = _pixels_name(archive, path)
        label = NAMES[name]
        if label not in _names(archive):
            raise mismatch(path, f"`{label}`, the labels of `{name}`", _listing(archive), SAVE)
        images, axes = _checked_shape(archive, path, name, input_shape)
        labels = _labels(archive, path, label, images)
        pixels = _pixels(archive, path, name, axes)
    checked = checked_labels(labels, classes, f"{path}:{label}")
    return ImagesInMemory(path, input_shape, checked, pixels=pixels, file=path)


def open_unlabelled_npz(path: Path, input_shape: Shape) -> ImagesInMemory:
    """Images of an .npz, ignoring its labels. See opening.open_unlabelled."""
    with open_archive(path, "an .npz") as archive:
        name = _pixels_name(archive, path)
        images, axes = _checked_shape(archive, path, name, input_shape)
        pixels = _pixels(archive, path, name, axes)
    return ImagesInMemory(path, input_shape, np.full(images, UNLABELLED), pixels=pixels, file=path)


def _names(archive: Archive) -> list[str]:
    return [name.removesuffix(END) for name in archive.names() if name.endswith(END)]


def _listing(archive: Archive) -> str:
    return ", ".join(f"`{name}`" for name in _names(archive)[:10]) or "no arrays"


def _pixels_name(archive: Archive, path: Path) -> str:
    """The name of the pixels in an archive. Raises InputError if it has none, or several sets."""
    present = [name for name in NAMES if name in _names(archive)]
    if not present:
        raise mismatch(path, f"images and labels: {EXPECTED}", _listing(archive), f"Save {SAVE}")
    if len(present) > 1:
        listed = " and ".join(f"`{name}`" for name in present)
        remedy = f"Save only the set that you mean: np.savez_compressed('{present[0]}.npz', …)"
        raise mismatch(path, "one set of images", listed, remedy)
    return present[0]


def _checked_shape(
    archive: Archive, path: Path, name: str, input_shape: Shape
) -> tuple[int, tuple[int, ...]]:
    """The number of images, and the permutation of their axes to N×C×H×W (N×H×W for one channel).

    Raises InputError if their shape does not fit the network, or if there are too many.
    """
    shape, dtype = archive.header(name)
    channels, height, width = input_shape
    orders: dict[tuple[int, ...], tuple[int, ...]] = {
        (height, width, channels): (0, 3, 1, 2),
        input_shape: (0, 1, 2, 3),
    }
    if channels == 1:
        orders[height, width] = (0, 1, 2)
    order = orders.get(shape[1:])
    if order is None:
        raise misshapen(f"{path}:{name}", shape, input_shape, name)
    if not shape[0]:
        raise InputError(f"{path}:{name}", "the set is empty")
    if shape[0] > MAX_IMAGES:
        raise mismatch(f"{path}:{name}", f"at most {MAX_IMAGES:,} images", f"{shape[0]:,}")
    check_in_memory(f"{path}:{name}", shape[0], input_shape, narrow=dtype == np.uint8)
    return shape[0], order


def _labels(archive: Archive, path: Path, name: str, images: int) -> NDArray[Any]:
    shape, dtype = archive.header(name)
    if math.prod(shape) != images:
        raise miscounted(f"{path}:{name}", shape, images, name)
    if images * dtype.itemsize > MAX_LABEL_BYTES:
        raise mismatch(f"{path}:{name}", f"at most {MAX_LABEL_BYTES:,} bytes", "more")
    return archive.array(name)


def _pixels(archive: Archive, path: Path, name: str, order: tuple[int, ...]) -> torch.Tensor:
    """All pixels, N×C×H×W: uint8, or float32 if not all values are whole numbers.

    Raises InputError for values outside 0–255, naming the first image that has one.
    """
    shape, dtype = archive.header(name)
    step = max(READ_BYTES // max(math.prod(shape[1:]) * dtype.itemsize, 1), 1)
    parts: list[NDArray[Any]] = []
    for start in range(0, shape[0], step):
        part = archive.narrowed(name, start, min(start + step, shape[0]), shape[1:])
        check_pixels(part, dtype, f"{path}:{name}", start, name)
        part = part.transpose(order)
        parts.append(np.ascontiguousarray(part[:, None] if part.ndim == 3 else part))
    return torch.from_numpy(np.concatenate(parts))


def check_pixels(
    pixels: NDArray[Any], stored: np.dtype[Any], where: str, first: int, name: str
) -> None:
    """Raises InputError for values outside 0–255.

    first: index of pixels[0] in the whole array. name: the array's name. stored: its dtype.
    """
    fault = pixel_fault(pixels, stored)
    if fault is not None:
        advice = f"Save {fault.formula.format(name)}" if fault.formula else "Save raw pixels"
        remedy = f"{advice}: the network itself applies its pixel scale"
        raise mismatch(
            f"{where}[{first + fault.image}]", "pixel values of 0–255", fault.found, remedy
        )
