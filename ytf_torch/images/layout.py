"""What an image set's file has to look like.

Where it does not, the error names what the file looks like instead (channels last, grey, divided by
255, …) and the line of NumPy that mends it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ytf_torch.disk.hdf5 import Dataset, Group, dataset, kind, listing
from ytf_torch.errors import InputError, mismatch
from ytf_torch.images.labels import miscounted

# YouTube Faces has 621,126 pictures.
MAX_IMAGES = 1_000_000
# A face takes some 500 bytes and more of a file, however well it is compressed; a bomb's, or one
# that was never written, takes almost none. The first ones are not counted.
FREE_IMAGES = 1_000
MIN_BYTES_PER_VALUE = 0.01
# Of sets that are read into memory as a whole: 14,000 photos of 224×224 pixels, 2.7 million of
# 28×28 grey ones.
MAX_BYTES_IN_MEMORY = 2 * 2**30
# How far outside 0–255 values may lie and still be pixels to which somebody added noise; other
# scales lead further away.
NOISE = 64
NOT_NORMALISED = "Give raw pixels, not normalised ones"

Shape = tuple[int, int, int]


def check_data(data: Dataset, input_shape: Shape) -> None:
    """Raises InputError where images are not N×C×H×W as the model reads them, there are none, or
    more are declared than their file can hold."""
    if tuple(data.shape[1:]) != input_shape or data.ndim != 4:
        raise misshapen(data, data.shape, input_shape)
    check_count(data, len(data), input_shape)


def check_keys(file: Group, input_shape: Shape, keys: Sequence[str]) -> None:
    """Raises InputError where one of these datasets is missing."""
    if not all(kind(file, key) == "a dataset" for key in keys):
        raise mismatch(
            file.file.path,
            "an image set: " + " and ".join(f"`{key}`" for key in keys),
            ", ".join(listing(file)) or "no datasets",
            f"Save images (N×{'×'.join(map(str, input_shape))}, 0–255) as `data` and their classes "
            "as `label`",
        )


def misshapen(
    where: object,
    given: Sequence[int],
    input_shape: Shape,
    data: str = "data",
    verb: str = "Save",
) -> InputError:
    """The error for images of another shape, with what would make them N×C×H×W.

    data: what the pixels are called. verb: what to do with them.
    """
    channels, height, width = input_shape
    found = "×".join(map(str, given)) or "a single number"
    remedy = "Resize the images to the model's input"
    for shape, looks_like, helps in (
        (input_shape, "a single image", f"{data}[None]"),
        ((height, width, channels), "a single image", f"{data}.transpose(2, 0, 1)[None]"),
        ((None, height, width, channels), "channels last", f"{data}.transpose(0, 3, 1, 2)"),
        (
            (None, channels, width, height),
            "on its side",
            f"{data}.transpose(0, 1, 3, 2)",
        ),
        (
            (None, width, height, channels),
            "on its side",
            f"{data}.transpose(0, 3, 2, 1)",
        ),
        # As MATLAB and Julia write them: their first axis is the last one here. Square images look
        # alike where the images came last.
        (
            (width, height, channels, None),
            "axes reversed" if width != height else "axes reversed, or images last",
            f"{data}.transpose(3, 2, 1, 0), in MATLAB permute({data}, [4 3 2 1])",
        ),
        (
            (channels, width, height, None),
            "axes reversed, channels last",
            f"{data}.transpose(3, 0, 2, 1), in MATLAB permute({data}, [3 2 4 1])",
        ),
        ((height, width, channels, None), "images last", f"{data}.transpose(3, 2, 0, 1)"),
        *_other_channels(input_shape, data),
    ):
        if len(shape) == len(given) and all(
            size in (None, there) for size, there in zip(shape, given, strict=True)
        ):
            if looks_like == "a single image":
                verb = f"Add an axis: {verb.lower()}"
            found, remedy = f"{found} ({looks_like})", f"{verb} {helps}"
            break
    return mismatch(where, "N×" + "×".join(map(str, input_shape)), found, remedy)


def _other_channels(input_shape: Shape, data: str) -> list[tuple[tuple[int | None, ...], str, str]]:
    """Shapes of images with other channels than the network reads, what such images are, and what
    would help."""
    channels, height, width = input_shape
    first, last = data, f"{data}.transpose(0, 3, 1, 2)"
    found: list[tuple[tuple[int | None, ...], str, str]] = []

    def add(there: int, looks_like: str, helps: str) -> None:
        found.append(((None, there, height, width), looks_like, helps.format(first)))
        found.append(((None, height, width, there), looks_like, helps.format(last)))

    if channels == 1:
        found.append(((None, height, width), "without an axis of channels", f"{data}[:, None]"))
        add(3, "in colour", "{}.mean(1, keepdims=True), which is grey")
        add(4, "in colour", "{}[:, :3].mean(1, keepdims=True), which is grey")
    else:
        repeated = f"np.repeat({{}}, {channels}, axis=1)"
        found.append(((None, height, width), "grey", repeated.format(f"{data}[:, None]")))
        add(1, "grey", repeated)
    if channels == 3:
        add(4, "with an alpha channel", "{}[:, :3]")
    return found


def check_in_memory(where: object, images: int, input_shape: Shape, *, narrow: bool) -> None:
    """Raises InputError where so many images would take too much memory. narrow: whether a pixel
    value takes one byte, not four."""
    taken = images * math.prod(input_shape) * (1 if narrow else 4)
    if taken > MAX_BYTES_IN_MEMORY:
        remedy = "Save them in the lab's format, HDF5, which is read piece by piece"
        raise mismatch(
            where, f"images of at most {MAX_BYTES_IN_MEMORY:,} bytes", f"{taken:,}", remedy
        )


def check_count(data: Dataset, images: int, input_shape: Shape) -> None:
    """Raises InputError where a dataset has no images, more than anybody has, or more than fit into
    its file."""
    path = data.file.path
    if not images:
        raise InputError(path, "the set is empty")
    if images > MAX_IMAGES:
        raise mismatch(data, f"at most {MAX_IMAGES:,} images", f"{images:,}")
    smallest, file_bytes = math.prod(input_shape) * MIN_BYTES_PER_VALUE, path.stat().st_size
    if (images - FREE_IMAGES) * smallest > file_bytes:
        found = f"{images:,} declared in {file_bytes:,} bytes"
        raise mismatch(data, f"images of at least {smallest:,.0f} bytes each", found)


def checked_label(file: Group, images: int) -> Dataset:
    """The dataset `label` of an open image set: one for each image, in any shape.

    Raises InputError where there are more or fewer of them.
    """
    label = dataset(file, "label")
    if math.prod(label.shape) != images:
        raise miscounted(label, label.shape, images, "label")
    return label


@dataclass(frozen=True)
class PixelFault:
    """What is wrong with pixel values. image: the first one that has it. formula: what would mend
    them, {} standing for the pixels; "" where none does."""

    image: int
    found: str
    formula: str = ""


def checked_pixels(
    pixels: NDArray[Any], stored: np.dtype[Any], path: Path, places: Sequence[int]
) -> NDArray[Any]:
    """Images as they were given, (images, channels, H, W).

    stored: the type that the file has them in. places: of these images in the file.
    Raises InputError, naming the first such image, where a value is not a finite number of 0–255,
    and where the values look divided by 255 already.
    """
    fault = pixel_fault(pixels, stored)
    if fault is None:
        return pixels
    remedy = f"Save {fault.formula.format('data')}" if fault.formula else NOT_NORMALISED
    raise mismatch(
        f"{path}:/data[{places[fault.image]}]", "pixel values of 0–255", fault.found, remedy
    )


def pixel_fault(pixels: NDArray[Any], stored: np.dtype[Any]) -> PixelFault | None:
    """What is wrong with the values of images (images, channels, H, W); None for good ones.

    stored: the type that they were given in.
    """
    lowest, highest = float(pixels.min()), float(pixels.max())
    if lowest >= 0 and highest <= 255:
        if stored != np.uint8 and 0 < highest <= 1:
            found = f"{lowest:g} to {highest:g}, which looks divided by 255 already"
            return PixelFault(0, found, "{} * 255")
        return None
    with np.errstate(over="ignore"):
        flat = np.asarray(pixels, np.float32).reshape(len(pixels), -1)
    first = int((~((flat >= 0) & (flat <= 255))).any(1).argmax())
    if np.isnan(lowest):
        return PixelFault(first, "NaN")
    if np.isinf(lowest) or np.isinf(highest):
        return PixelFault(first, "infinite values, or some beyond what float32 holds")
    found = f"{lowest:g} to {highest:g}"
    if lowest >= -1 and highest <= 1:
        return PixelFault(first, f"{found}, which looks scaled to −1…1", "({} + 1) * 127.5")
    if lowest >= -NOISE and highest <= 255 + NOISE:
        return PixelFault(first, f"{found}, as if noise had been added", "np.clip({}, 0, 255)")
    return PixelFault(first, found)
