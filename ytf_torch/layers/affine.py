"""Constants per channel, by which Rescaling and Normalization scale and shift."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.weight import Shape

# One number for all channels, or one for each.
Numbers = tuple[float, ...]


def for_channels(numbers: Numbers, like: Tensor) -> Tensor:
    """Numbers as a tensor with the dtype and device of a batch, in a shape that broadcasts."""
    return torch.tensor(numbers, dtype=like.dtype, device=like.device).reshape(
        _shape(like.ndim - 1)
    )


def onnx_for_channels(nodes: OnnxNodes, name: str, numbers: Numbers, shape: Shape) -> str:
    """Numbers as a constant of an ONNX graph. shape: of one image."""
    array = np.array(numbers, np.float64 if nodes.double else np.float32)
    return nodes.constant(name, array.reshape(_shape(len(shape))))


def kept_numbers(numbers: Numbers, own: Tensor) -> Numbers:
    """The numbers of the remaining channels. own: (channels,), bool."""
    if len(numbers) == 1:
        return numbers
    return tuple(number for number, keep in zip(numbers, own.tolist(), strict=True) if keep)


def plain(numbers: Numbers) -> float | list[float]:
    """Numbers in the form of Keras configurations."""
    return numbers[0] if len(numbers) == 1 else list(numbers)


def _shape(axes: int) -> tuple[int, ...]:
    """The shape that broadcasts along the channels: the first of three axes, else the last."""
    return (-1, 1, 1) if axes == 3 else (-1,)
