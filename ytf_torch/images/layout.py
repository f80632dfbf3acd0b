"""Checks the shapes and values of image sets.

An error says what the data look like instead (channels last, grey, divided by 255, …) and gives the
NumPy expression that corrects it.
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

# YouTube Faces has 621,126 images.
MAX_IMAGES = 1_000_000
# Plausible size of a compressed image: a face needs about 500 bytes or more. An image of a
# decompression bomb, or one that was never written, needs almost none. The first FREE_IMAGES are
# exempt.
FREE_IMAGES = 1_000
MIN_BYTES_PER_VALUE = 0.01
# Limit for sets that are read into memory as a whole: 14,000 RGB images of 224×224 pixels, 2.7
# million grey images of 28×28.
MAX_BYTES_IN_MEMORY = 2 * 2**30
# Values up to this far outside 0–255 are taken for pixels with added noise; other scales lie
# further outside.
NOISE = 64
NOT_NORMALISED = "Give raw pixels, not normalised ones"

Shape = tuple[int, int, int]


def check_data(data: Dataset, input_shape: Shape) -> None:
    """Raises InputError if images are not N×C×H×W in the model's input shape, if there are none, or
    if more are declared than the file can hold."""
    if tuple(data.shape[1:]) != input_shape or data.ndim != 4:
        raise misshapen(data, data.shape, input_shape)
    check_count(data, len(data), input_shape)


def check_keys(file: Group, input_shape: Shape, keys: Sequence[str]) -> None:
    """Raises InputError if one of the datasets `keys` is missing."""
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
    """The error for images of another shape, with the expression that would make them N×C×H×W.

    given: their shape. data: the name of the array. verb: how the remedy begins.
    """
    channels, height, width = input_shape
    shown = "×".join(map(str, given)) or "a single number"
    remedy = "Resize the images to the model's input"
    for shape, looks_like, expression in (
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
        # MATLAB and Julia store arrays with reversed axes. If height = width, that is
        # indistinguishable from H×W×C×N.
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
            size in (None, actual) for size, actual in zip(shape, given, strict=True)
        ):
            if looks_like == "a single image":
                verb = f"Add an axis: {verb.lower()}"
            shown, remedy = f"{shown} ({looks_like})", f"{verb} {expression}"
            break
    return mismatch(where, "N×" + "×".join(map(str, input_shape)), shown, remedy)


def _other_channels(input_shape: Shape, data: str) -> list[tuple[tuple[int | None, ...], str, str]]:
    """Images with other channels than the network reads: shape, description, and the expression
    that converts them."""
    channels, height, width = input_shape
    first, last = data, f"{data}.transpose(0, 3, 1, 2)"
    layouts: list[tuple[tuple[int | None, ...], str, str]] = []

    def add(actual_channels: int, looks_like: str, expression: str) -> None:
        layouts.append(
            ((None, actual_channels, height, width), looks_like, expression.format(first))
        )
        layouts.append(
            ((None, height, width, actual_channels), looks_like, expression.format(last))
        )

    if channels == 1:
        layouts.append(((None, height, width), "without an axis of channels", f"{data}[:, None]"))
        add(3, "in colour", "{}.mean(1, keepdims=True), which is grey")
        add(4, "in colour", "{}[:, :3].mean(1, keepdims=True), which is grey")
    else:
        repeated = f"np.repeat({{}}, {channels}, axis=1)"
        layouts.append(((None, height, width), "grey", repeated.format(f"{data}[:, None]")))
        add(1, "grey", repeated)
    if channels == 3:
        add(4, "with an alpha channel", "{}[:, :3]")
    return layouts


def check_in_memory(where: object, images: int, input_shape: Shape, *, narrow: bool) -> None:
    """Raises InputError if `images` images exceed MAX_BYTES_IN_MEMORY. narrow: True for uint8
    pixels, False for float32."""
    size = images * math.prod(input_shape) * (1 if narrow else 4)
    if size > MAX_BYTES_IN_MEMORY:
        remedy = "Save them in the lab's format, HDF5, which is read piece by piece"
        raise mismatch(
            where, f"images of at most {MAX_BYTES_IN_MEMORY:,} bytes", f"{size:,}", remedy
        )


def check_count(data: Dataset, images: int, input_shape: Shape) -> None:
    """Raises InputError if a dataset declares no images, more than MAX_IMAGES, or more than its
    file can hold."""
    path = data.file.path
    if not images:
        raise InputError(path, "the set is empty")
    if images > MAX_IMAGES:
        raise mismatch(data, f"at most {MAX_IMAGES:,} images", f"{images:,}")
    smallest, file_bytes = math.prod(input_shape) * MIN_BYTES_PER_VALUE, path.stat().st_size
    if (images - FREE_IMAGES) * smallest > file_bytes:
        declared = f"{images:,} declared in {file_bytes:,} bytes"
        raise mismatch(data, f"images of at least {smallest:,.0f} bytes each", declared)


def checked_label(file: Group, images: int) -> Dataset:
    """The dataset `label` of an open image set, in any shape.

    Raises InputError if the number of labels is not `images`.
    """
    label = dataset(file, "label")
    if math.prod(label.shape) != images:
        raise miscounted(label, label.shape, images, "label")
    return label


@dataclass(frozen=True)
class PixelFault:
    """What is wrong with pixel values. image: index of the first image concerned. found: a
    description. formula: the expression that corrects them, with {} for the pixels; "" if none
    does."""

    image: int
    found: str
    formula: str = ""


def checked_pixels(
    pixels: NDArray[Any], stored: np.dtype[Any], path: Path, places: Sequence[int]
) -> NDArray[Any]:
    """Return images (images, channels, H, W) unchanged after checking their values.

    stored: their dtype in the file. places: their indices in the file. Raises InputError, naming
    the first image concerned, if a value is not a finite number of 0–255, or if the values seem to
    be divided by 255 already.
    """
    fault = pixel_fault(pixels, stored)
    if fault is None:
        return pixels
    remedy = f"Save {fault.formula.format('data')}" if fault.formula else NOT_NORMALISED
    raise mismatch(
        f"{path}:/data[{places[fault.image]}]", "pixel values of 0–255", fault.found, remedy
    )


def pixel_fault(pixels: NDArray[Any], stored: np.dtype[Any]) -> PixelFault | None:
    """What is wrong with the values of images (images, channels, H, W), None if nothing is.

    stored: their original dtype. Bytes of 0 and 1 may be dark pixels; floats of at most 1 are taken
    for scaled ones.
    """
    lowest, highest = float(pixels.min()), float(pixels.max())
    if lowest >= 0 and highest <= 255:
        if stored != np.uint8 and 0 < highest <= 1:
            description = f"{lowest:g} to {highest:g}, which looks divided by 255 already"
            return PixelFault(0, description, "{} * 255")
        return None
    with np.errstate(over="ignore"):
        flat = np.asarray(pixels, np.float32).reshape(len(pixels), -1)
    first = int((~((flat >= 0) & (flat <= 255))).any(1).argmax())
    if np.isnan(lowest):
        return PixelFault(first, "NaN")
    if np.isinf(lowest) or np.isinf(highest):
        return PixelFault(first, "infinite values, or some beyond what float32 holds")
    extent = f"{lowest:g} to {highest:g}"
    if lowest >= -1 and highest <= 1:
        return PixelFault(first, f"{extent}, which looks scaled to −1…1", "({} + 1) * 127.5")
    if lowest >= -NOISE and highest <= 255 + NOISE:
        return PixelFault(first, f"{extent}, as if noise had been added", "np.clip({}, 0, 255)")
    return PixelFault(first, extent)
