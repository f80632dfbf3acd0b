"""MaxPooling2D: the largest value under a window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape
from ytf_torch.layers.windows import PADDINGS, Window, check_maps


class MaxPool(nn.Module):
    """The largest value under each window; padded places never win.

    On a CPU, PyTorch's own kernel finds the places of the maxima too, which only training needs,
    and takes three times as long. Windows side by side are therefore compared here.
    """

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, H, W) → (batch, channels, H', W')."""
        window = self.window
        side_by_side = window.size == window.strides and window.padding == "valid"
        side_by_side = side_by_side and window.size != (1, 1)  # which would give its input back
        if torch.is_grad_enabled() or not side_by_side:
            padded = self.window.pad(input, -math.inf)
            return F.max_pool2d(padded, self.window.size, self.window.strides)
        for dimension, size in zip((2, 3), self.window.size, strict=True):
            whole = input.narrow(dimension, 0, input.shape[dimension] // size * size)
            places = torch.unflatten(whole, dimension, (-1, size))
            input = reduce(torch.maximum, places.unbind(dimension + 1))
        return input


def read_pooling_window(settings: Settings) -> Window:
    """The window of a pooling, whose strides are its size by default."""
    size = settings.pair("pool_size", (2, 2))
    # Keras takes null for the size too.
    strides = size if settings.get("strides") is None else settings.pair("strides", size)
    return Window(size, strides, (1, 1), settings.choice("padding", PADDINGS, "valid"))


def pooling_settings(window: Window) -> Config:
    """A pooling's configuration for Keras."""
    return {
        "padding": window.padding,
        "data_format": "channels_last",
        "pool_size": list(window.size),
        "strides": list(window.strides),
    }


@dataclass(frozen=True)
class MaxPooling2D(Kind):
    """A max pooling."""

    class_names = ("MaxPooling2D", "MaxPool2D")
    channelwise = True
    largest = True
    keeps_zero = True
    window: Window

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        settings.channels_last()
        return cls(read_pooling_window(settings))

    def keras_settings(self) -> Config:
        """See Kind."""
        return pooling_settings(self.window)

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        check_maps(inputs[0])
        return (inputs[0][0], *self.window.places(inputs[0]))

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return MaxPool(self.window)

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        pads = self.window.onnx_pads(inputs[0])
        padding = {"pads": pads} if any(pads) else {}
        size, strides = list(self.window.size), list(self.window.strides)
        return nodes.node("MaxPool", sources, name, kernel_shape=size, strides=strides, **padding)
