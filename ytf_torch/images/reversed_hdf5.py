"""Reads pixels from HDF5 files with reversed axes. MATLAB and Julia write arrays in column-major
order, so that their first axis is the file's last."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ytf_torch.disk.hdf5 import READ_BYTES, Dataset
from ytf_torch.images.layout import Shape, check_count, check_in_memory, checked_pixels


def reversed_order(shape: tuple[int, ...], input_shape: Shape) -> tuple[int, ...] | None:
    """The permutation of axes that turns a reversed dataset into N×C×H×W; None for other datasets.

    The program that wrote it may have had N×C×H×W or N×H×W×C. Square images give None too, as they
    are indistinguishable from H×W×C×N.

    >>> reversed_order((47, 55, 3, 100), (3, 55, 47))
    (3, 2, 1, 0)
    """
    channels, height, width = input_shape
    if len(shape) != 4 or height == width:
        return None
    orders = {(width, height, channels): (3, 2, 1, 0), (channels, width, height): (3, 0, 2, 1)}
    return orders.get((shape[0], shape[1], shape[2]))


def read_reversed(data: Dataset, order: tuple[int, ...], input_shape: Shape) -> Tensor:
    """All pixels (images, channels, H, W), uint8 or float32. Each image is scattered over the whole
    file, so single images cannot be read efficiently.

    order: from reversed_order. Raises InputError for an empty set, for too many images, and for
    values outside 0–255, naming the first image that has one.
    """
    images = data.shape[-1]
    check_count(data, images, input_shape)
    check_in_memory(data, images, input_shape, narrow=data.dtype == np.uint8)
    step = max(READ_BYTES // max(data.nbytes // data.shape[0], 1), 1)
    parts: list[NDArray[np.uint8] | NDArray[np.float32]] = []
    for start in range(0, data.shape[0], step):
        parts.append(data.narrowed(start, min(start + step, data.shape[0])))
    pixels = np.ascontiguousarray(np.concatenate(parts).transpose(order))
    return torch.from_numpy(checked_pixels(pixels, data.dtype, data.file.path, range(images)))
