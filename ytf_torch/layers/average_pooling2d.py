"""AveragePooling2D: the mean under a sliding window, not counting padding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.onnx_resampling import rows_and_columns
from ytf_torch.layers.pooling import Pooling
from ytf_torch.layers.weight import Shape
from ytf_torch.layers.windows import Window


class AveragePool(nn.Module):
    """The mean under each window. Padding is not counted, as in Keras."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, H, W) → (batch, channels, H', W')."""
        size, strides = self.window.size, self.window.strides
        padded = self.window.pad(input)
        if padded is input:
            return F.avg_pool2d(input, size, strides)
        sums = F.avg_pool2d(padded, size, strides, divisor_override=1)
        ones = self.window.pad(torch.ones_like(input[:1, :1]))  # 0 on the padding
        return sums / F.avg_pool2d(ones, size, strides, divisor_override=1)


@dataclass(frozen=True)
class AveragePooling2D(Pooling):
    """Average pooling."""

    class_names = ("AveragePooling2D", "AvgPool2D")
    linear = True

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return AveragePool(self.window)

    def workspace(self, *inputs: Shape) -> int:
        """See Kind: the padded maps, and the sums."""
        channels, height, width = inputs[0]
        left, right, above, below = self.window.padding_for(inputs[0])
        if not (left or right or above or below):
            return 0
        padded = channels * (height + above + below) * (width + left + right)
        return padded + channels * math.prod(self.window.places(inputs[0]))

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        if nodes.double:
            return self._onnx_double(nodes, sources[0], name, inputs[0])
        return self.onnx_pool(nodes, "AveragePool", sources, name, inputs[0])

    def _onnx_double(self, nodes: OnnxNodes, source: str, name: str, maps: Shape) -> str:
        """Means over rows, then over columns: onnxruntime has no AveragePool in float64 on CPUs."""
        rows, columns = (self._means(maps[1 + axis], axis) for axis in (0, 1))
        return rows_and_columns(nodes, source, name, rows, columns)

    def _means(self, side: int, axis: int) -> NDArray[np.float64]:
        """(positions, side): the weight of each row (axis 0) or column (axis 1) in the mean at each
        position."""
        window, maps = self.window, (1, side, side)
        left, _, above, _ = window.padding_for(maps)
        positions = np.arange(window.places(maps)[axis])[:, None]
        first = positions * window.strides[axis] - (above, left)[axis]
        index = np.arange(side)
        covered = (first <= index) & (index < first + window.size[axis])
        shares: NDArray[np.float64] = covered / covered.sum(1, keepdims=True)
        return shares
