"""Constants for each channel, which some layers add to maps or multiply them by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.weight import Shape

# One number, or one for each channel.
Numbers = tuple[float, ...]


def for_channels(numbers: Numbers, like: Tensor) -> Tensor:
    """Numbers in the precision of a batch, in a shape that it takes."""
    return torch.tensor(numbers, dtype=like.dtype, device=like.device).reshape(
        _shape(like.ndim - 1)
    )


def onnx_for_channels(nodes: OnnxNodes, name: str, numbers: Numbers, shape: Shape) -> str:
    """The same as a constant of an ONNX graph. shape: of one image."""
    array = np.array(numbers, np.float64 if nodes.double else np.float32)
    return nodes.constant(name, array.reshape(_shape(len(shape))))


def kept_numbers(numbers: Numbers, own: Tensor) -> Numbers:
    """Those of the channels that remain."""
    if len(numbers) == 1:
        return numbers
    return tuple(number for number, keep in zip(numbers, own.tolist(), strict=True) if keep)


def plain(numbers: Numbers) -> float | list[float]:
    """As Keras's configurations have them."""
    return numbers[0] if len(numbers) == 1 else list(numbers)


def _shape(axes: int) -> tuple[int, ...]:
    """The channels of maps are their first axis here, of anything else its last."""
    return (-1, 1, 1) if axes == 3 else (-1,)
