"""Conv2DTranspose: a transposed convolution that includes its activation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.layers.activations import Activation, read_activation
from ytf_torch.layers.kind import Tensors
from ytf_torch.layers.onnx_convolution import ConvolutionNodes
from ytf_torch.layers.onnx_nodes import OnnxNodes, array_of
from ytf_torch.layers.onnx_resampling import rows_and_columns
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.summing import SummingMaps, read_window
from ytf_torch.layers.training import FOR_TRAINING
from ytf_torch.layers.weight import Shape, Weight, vector
from ytf_torch.layers.windows import Window, check_maps

Border = tuple[int, int, int, int]


class TransposedConvolution(nn.Module):
    """A transposed convolution that ends in its activation.

    border: (left, right, above, below) columns and rows that are added to PyTorch's full result, or
    cropped if negative, to get Keras's output size.
    """

    bias: nn.Parameter | None

    def __init__(
        self, kernel: Shape, strides: tuple[int, int], border: Border, activation: Activation
    ) -> None:
        super().__init__()
        self.strides, self.border, self.activation = strides, border, activation
        self.out_channels = kernel[0]
        self.weight = nn.Parameter(torch.zeros(kernel))
        self.bias = None

    def before_activation(self, input: Tensor) -> Tensor:
        """(batch, channels_in, H, W) → pre-activations (batch, channels, H', W')."""
        spread = F.conv_transpose2d(input, self.weight.transpose(0, 1), stride=self.strides)
        sums = F.pad(spread, self.border)
        return sums if self.bias is None else sums + self.bias[:, None, None]

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels_in, H, W) → (batch, channels, H', W')."""
        return self.activation.overwrite(self.before_activation(input))


@dataclass(frozen=True)
class Conv2DTranspose(SummingMaps):
    """Transposed convolution. window: that of the convolution whose transpose it is."""

    class_names = ("Conv2DTranspose", "Convolution2DTranspose")
    filters: int
    window: Window
    use_bias: bool
    function: Activation

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        settings.channels_last()
        settings.choice("groups", (1,), 1)
        settings.choice("output_padding", (None,), None)
        if settings.pair("dilation_rate", (1, 1)) != (1, 1):
            raise settings.wrong("dilation_rate", "1", settings.get("dilation_rate"))
        window, use_bias = read_window(settings), settings.boolean("use_bias", True)
        return cls(settings.integer("filters"), window, use_bias, read_activation(settings))

    def keras_settings(self) -> Config:
        """See Kind."""
        return {
            "filters": self.filters,
            "kernel_size": list(self.window.size),
            **FOR_TRAINING,
            "padding": self.window.padding,
            "data_format": "channels_last",
            "strides": list(self.window.strides),
            "dilation_rate": [1, 1],
            "output_padding": None,
            "activation": self.function.keras_name,
            "use_bias": self.use_bias,
        }

    def _border(self) -> Border:
        """See TransposedConvolution. Keras's output has `side · stride` positions for "same", and
        `side · stride + max(size - stride, 0)` for "valid"; PyTorch's full result has
        `(side - 1) · stride + size`."""
        border: list[int] = []
        for size, stride in zip(self.window.size[::-1], self.window.strides[::-1], strict=True):
            overhang = max(size - stride, 0)
            before = overhang // 2 if self.window.padding == "same" else 0
            cropped = overhang if self.window.padding == "same" else 0
            border += [-before, stride - size + overhang - (cropped - before)]
        left, right, above, below = border
        return (left, right, above, below)

    def _whole(self, maps: Shape) -> tuple[int, int]:
        """Height and width of the full result, before the border is added or cropped."""
        sides = zip(maps[1:], self.window.size, self.window.strides, strict=True)
        height, width = ((side - 1) * stride + size for side, size, stride in sides)
        return height, width

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        check_maps(inputs[0])
        (height, width), (left, right, above, below) = self._whole(inputs[0]), self._border()
        return (self.filters, height + above + below, width + left + right)

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """See Kind. Keras's kernel is (height, width, out, in)."""
        size, channels = self.window.size, inputs[0][0]
        shape, keras_shape = (self.filters, channels, *size), (*size, self.filters, channels)
        kernel = Weight("weight", "kernel", shape, keras_shape, (2, 3, 0, 1), start="glorot")
        return (kernel, vector("bias", "bias", self.filters)) if self.use_bias else (kernel,)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        kernel = self.weights(*inputs)[0].shape
        module = TransposedConvolution(kernel, self.window.strides, self._border(), self.function)
        if self.use_bias:
            module.bias = nn.Parameter(torch.zeros(self.filters))
        return module

    def multiply_adds(self, *inputs: Shape) -> int:
        """See Kind."""
        return self.weights(*inputs)[0].values * math.prod(inputs[0][1:])

    def workspace(self, *inputs: Shape) -> int:
        """See Kind: the products of every input value with the kernel, and the full result."""
        (maps,) = inputs
        spread = self.filters * math.prod(self.window.size) * math.prod(maps[1:])
        return spread + self.filters * math.prod(self._whole(maps))

    def onnx_sums(
        self,
        nodes: OnnxNodes,
        module: nn.Module,
        sources: list[str],
        name: str,
        sums: str,
        *inputs: Shape,
    ) -> None:
        """See Kind. A convolution with the flipped kernel over maps with zeros inserted between
        their values: onnxruntime has no ConvTranspose in float64 on CPUs."""
        (maps,) = inputs
        height, width = (self._between(side, axis) for axis, side in enumerate(maps[1:]))
        spread = maps[0], len(height), len(width)
        source = rows_and_columns(nodes, sources[0], f"{name}_spread", height, width)
        kernel = np.ascontiguousarray(array_of(module, "weight")[:, :, ::-1, ::-1])
        bias = array_of(module, "bias") if self.use_bias else None
        window = Window(self.window.size, (1, 1), (1, 1), "valid")
        ConvolutionNodes(nodes, name, window, 1, spread).add(source, sums, kernel, bias)

    def _between(self, side: int, axis: int) -> NDArray[np.float64]:
        """(positions, side): a 0/1 matrix that places each row (axis 0) or column (axis 1) among
        the inserted zeros."""
        size, stride = self.window.size[axis], self.window.strides[axis]
        left, right, above, below = self._border()
        before, after = ((above, below), (left, right))[axis]
        whole = np.zeros((2 * (size - 1) + (side - 1) * stride + 1, side))
        whole[size - 1 + stride * np.arange(side), np.arange(side)] = 1
        padded = np.pad(whole, ((max(before, 0), max(after, 0)), (0, 0)))
        return padded[max(-before, 0) : len(padded) - max(-after, 0)]

    def kernels(self, weights: Tensors) -> Tensor:
        """See Kind."""
        return weights["weight"].flatten(2)

    def for_smaller_input(self, weights: Tensors, factor: float) -> Tensors:
        """See Kind."""
        return weights | {"weight": weights["weight"] * factor}

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """See Kind. Removing input channels removes none of its own."""
        return torch.ones(self.filters, dtype=torch.bool)

    def narrowed(
        self, weights: Tensors, kept: Sequence[Tensor], own: Tensor
    ) -> tuple[Conv2DTranspose, Tensors]:
        """See Kind."""
        changed = {name: tensor[own] for name, tensor in weights.items()}
        changed["weight"] = changed["weight"][:, kept[0]]
        return replace(self, filters=int(own.sum())), changed
