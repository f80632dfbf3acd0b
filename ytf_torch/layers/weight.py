"""A weight of a layer: what Keras and PyTorch call it, its shape in each, and how its axes map.

Keras (channels last): convolution kernels are (height, width, in, out), dense kernels (in, out).
PyTorch: (out, in, height, width) and (out, in).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)
Shape = tuple[int, ...]
Start = Literal["glorot", "zeros", "ones"]


@dataclass(frozen=True)
class Weight:
    """One array of a layer.

    name: of the parameter or buffer in the layer's module. keras: as Keras calls it. shape,
    keras_shape: in PyTorch and in Keras. axes: Keras's array, viewed as `view` (`keras_shape` by
    default) and transposed by these axes, holds the values in PyTorch's order. trained: whether it
    is learned by gradients; statistics are not. start: how Keras initialises it by default.

    >>> from ytf_torch.layers.weight import Weight
    >>> kernel = Weight("weight", "kernel", (8, 3, 5, 5), (5, 5, 3, 8), axes=(3, 2, 0, 1))
    >>> kernel.from_keras(np.zeros((5, 5, 3, 8))).shape
    (8, 3, 5, 5)
    """

    name: str
    keras: str
    shape: Shape
    keras_shape: Shape
    axes: tuple[int, ...]
    view: Shape = ()
    trained: bool = True
    start: Start = "zeros"

    def from_keras(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """An array of `keras_shape` → the same values as `shape`, PyTorch's order."""
        viewed: NDArray[Any] = array.reshape(self.view or self.keras_shape)
        ordered = np.ascontiguousarray(viewed.transpose(self.axes))
        return ordered.reshape(self.shape)  # an array of no axes got one

    def to_keras(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """The inverse of `from_keras`."""
        view = self.view or self.keras_shape
        transposed: NDArray[Any] = array.reshape([view[axis] for axis in self.axes])
        inverse = np.argsort(self.axes)
        return np.ascontiguousarray(transposed.transpose(inverse)).reshape(self.keras_shape)

    @property
    def values(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def vector(
    name: str, keras: str, units: int, *, start: Start = "zeros", trained: bool = True
) -> Weight:
    """A weight with one number for each channel or unit."""
    return Weight(name, keras, (units,), (units,), (0,), trained=trained, start=start)


def gamma_and_beta(channels: int, scale: bool, center: bool) -> tuple[Weight, ...]:
    """The weights of a normalization that it scales and shifts by, each where it has it."""
    gamma = vector("weight", "gamma", channels, start="ones")
    beta = vector("bias", "beta", channels)
    return (*([gamma] if scale else []), *([beta] if center else []))
