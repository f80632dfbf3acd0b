"""Layers that compute what Keras's do."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvRelu(nn.Conv2d):
    """Convolution with the ReLU inside, as Keras's Conv2D(activation="relu").

    A forward hook on it therefore sees what Keras calls the layer's output.
    """

    bias: Tensor

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels_in, H, W) → (batch, channels, H', W'), all values ≥ 0."""
        return F.relu(super().forward(input), inplace=True)


class MaxPool(nn.MaxPool2d):
    """Keras's MaxPooling2D(2): the largest of each 2×2 values; an odd last row or column drops out.

    On a CPU, PyTorch's own kernel finds the places of the maxima too, which only training needs,
    and takes three times as long.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, H, W) → (batch, channels, H // 2, W // 2)."""
        if torch.is_grad_enabled():
            return F.max_pool2d(input, 2)
        for dimension in (2, 3):
            whole = input.narrow(dimension, 0, input.shape[dimension] // 2 * 2)
            pairs = torch.unflatten(whole, dimension, (-1, 2))
            input = torch.maximum(*pairs.unbind(dimension + 1))
        return input


def _is_watched(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def pooled_convolution(convolution: nn.Module, pool: nn.Module, input: Tensor) -> Tensor:
    """pool(convolution(input)), bit for bit: the largest of some values above 0 is the same before
    and after the ReLU, which has a quarter of the values to look at behind the pool.

    Not where somebody has a hook on one of them: what it sees is after the ReLU.
    """
    if torch.is_grad_enabled() or _is_watched(convolution) or _is_watched(pool):
        output: Tensor = pool(convolution(input))
        return output
    assert isinstance(convolution, ConvRelu)
    return F.relu(pool(nn.Conv2d.forward(convolution, input)), inplace=True)
