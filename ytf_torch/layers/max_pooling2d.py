"""MaxPooling2D: the maximum under a sliding window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.pooling import Pooling
from ytf_torch.layers.weight import Shape
from ytf_torch.layers.windows import Window


class MaxPool(nn.Module):
    """The maximum under each window. Padding is −∞ and never the maximum.

    On a CPU, PyTorch's kernel also computes the indices of the maxima, which only the backward pass
    needs, and takes three times as long. At inference, windows that do not overlap are therefore
    computed here, by elementwise maxima of slices.
    """

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, H, W) → (batch, channels, H', W')."""
        window = self.window
        tiled = window.size == window.strides and window.padding == "valid"
        tiled = tiled and window.size != (1, 1)  # for which the loop below would return the input
        if torch.is_grad_enabled() or not tiled:
            padded = self.window.pad(input, -math.inf)
            return F.max_pool2d(padded, self.window.size, self.window.strides)
        for dimension, size in zip((2, 3), self.window.size, strict=True):
            whole = input.narrow(dimension, 0, input.shape[dimension] // size * size)
            tiles = torch.unflatten(whole, dimension, (-1, size))
            input = reduce(torch.maximum, tiles.unbind(dimension + 1))
        return input


@dataclass(frozen=True)
class MaxPooling2D(Pooling):
    """Max pooling."""

    class_names = ("MaxPooling2D", "MaxPool2D")
    largest = True

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return MaxPool(self.window)

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        return self.onnx_pool(nodes, "MaxPool", sources, name, inputs[0])
