"""How Keras lays weights out in memory, and how PyTorch does. Each function has its inverse.

Keras (channels_last): convolution kernels are (height, width, in, out), dense kernels (in, out),
and Flatten runs over (height, width, channel). PyTorch: (out, in, height, width), (out, in), and
flatten runs over (channel, height, width).
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


def convolution_from_keras(kernel: NDArray[Scalar]) -> NDArray[Scalar]:
    """HWIO → OIHW."""
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))


def convolution_to_keras(weight: NDArray[Scalar]) -> NDArray[Scalar]:
    """OIHW → HWIO."""
    return np.ascontiguousarray(weight.transpose(2, 3, 1, 0))


def dense_from_keras(kernel: NDArray[Scalar]) -> NDArray[Scalar]:
    """(in, out) → (out, in)."""
    return np.ascontiguousarray(kernel.T)


def dense_to_keras(weight: NDArray[Scalar]) -> NDArray[Scalar]:
    """(out, in) → (in, out)."""
    return np.ascontiguousarray(weight.T)


def flattened_dense_from_keras(
    kernel: NDArray[Scalar], map_size: tuple[int, int]
) -> NDArray[Scalar]:
    """Kernel of a Dense after Flatten, rows in HWC order → (out, in) with columns in CHW order.

    map_size: height and width of what was flattened.
    """
    by_position: NDArray[Any] = kernel.reshape(*map_size, -1, kernel.shape[1])
    return np.ascontiguousarray(by_position.transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1))


def flattened_dense_to_keras(weight: NDArray[Scalar], map_size: tuple[int, int]) -> NDArray[Scalar]:
    """(out, in) with columns in CHW order → kernel (in, out) with rows in HWC order."""
    by_channel: NDArray[Any] = weight.reshape(weight.shape[0], -1, *map_size)
    return np.ascontiguousarray(by_channel.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0]))
