"""A weight of a layer: its name and shape in Keras and in PyTorch, and how its axes map.

Convolution kernels: Keras (height, width, in, out), PyTorch (out, in, height, width).
Dense kernels: Keras (in, out), PyTorch (out, in).
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

    name: the parameter or buffer of the layer's module. keras: its name in Keras. shape,
    keras_shape: in PyTorch and in Keras. view, axes: `keras_array.reshape(view).transpose(axes)`
    has the values in PyTorch's order; view defaults to keras_shape. trained: whether it is learned
    by gradients; statistics are not. start: Keras's default initialisation.

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
        """An array of `keras_shape` → the same values in PyTorch's order, of `shape`."""
        viewed: NDArray[Any] = array.reshape(self.view or self.keras_shape)
        ordered = np.ascontiguousarray(viewed.transpose(self.axes))
        return ordered.reshape(self.shape)  # ascontiguousarray gives a scalar one axis

    def to_keras(self, array: NDArray[Scalar]) -> NDArray[Scalar]:
        """The inverse of `from_keras`."""
        view = self.view or self.keras_shape
        transposed: NDArray[Any] = array.reshape([view[axis] for axis in self.axes])
        inverse = np.argsort(self.axes)
        return np.ascontiguousarray(transposed.transpose(inverse)).reshape(self.keras_shape)

    @property
    def values(self) -> int:
        """The number of its values."""
        return math.prod(self.shape)


def vector(
    name: str, keras: str, units: int, *, start: Start = "zeros", trained: bool = True
) -> Weight:
    """A weight with one value for each channel or unit."""
    return Weight(name, keras, (units,), (units,), (0,), trained=trained, start=start)


def gamma_and_beta(channels: int, scale: bool, center: bool) -> tuple[Weight, ...]:
    """The weights gamma and beta of a normalization, as far as it has them."""
    gamma = vector("weight", "gamma", channels, start="ones")
    beta = vector("bias", "beta", channels)
    return (*([gamma] if scale else []), *([beta] if center else []))
