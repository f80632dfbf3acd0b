"""SeparableConv2D: a depthwise convolution, a pointwise one, and the activation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.layers.activations import Activation, read_activation
from ytf_torch.layers.depthwise_conv2d import depthwise_kernel
from ytf_torch.layers.kind import Tensors
from ytf_torch.layers.onnx_convolution import ConvolutionNodes
from ytf_torch.layers.onnx_nodes import OnnxNodes, array_of
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.summing import SummingMaps, read_window
from ytf_torch.layers.training import initializer
from ytf_torch.layers.weight import Shape, Weight, vector
from ytf_torch.layers.windows import Window, check_maps

ONE_PLACE = Window((1, 1), (1, 1), (1, 1), "valid")


class SeparableConvolution(nn.Module):
    """A depthwise and a pointwise convolution, followed by the activation."""

    bias: nn.Parameter | None

    def __init__(self, between: int, channels: int, window: Window, activation: Activation) -> None:
        super().__init__()
        self.window, self.activation, self.out_channels = window, activation, channels
        self.depthwise = nn.Parameter(torch.zeros(between, 1, *window.size))
        self.pointwise = nn.Parameter(torch.zeros(channels, between, 1, 1))
        self.bias = None

    def before_activation(self, input: Tensor) -> Tensor:
        """(batch, channels_in, H, W) → pre-activations (batch, channels, H', W')."""
        window = self.window
        maps = F.conv2d(
            window.pad(input),
            self.depthwise,
            stride=window.strides,
            dilation=window.dilation,
            groups=input.shape[1],
        )
        return F.conv2d(maps, self.pointwise, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels_in, H, W) → (batch, channels, H', W')."""
        return self.activation.overwrite(self.before_activation(input))


@dataclass(frozen=True)
class SeparableConv2D(SummingMaps):
    """Separable convolution. multiplier: channels that the depthwise convolution makes of each
    input channel. There is no bias and no activation between the two convolutions."""

    class_names = ("SeparableConv2D", "SeparableConvolution2D")
    last_kernel = "pointwise"
    filters: int
    multiplier: int
    window: Window
    use_bias: bool
    function: Activation

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        settings.channels_last()
        settings.choice("groups", (1,), 1)
        return cls(
            settings.integer("filters"),
            settings.integer("depth_multiplier", 1),
            read_window(settings),
            settings.boolean("use_bias", True),
            read_activation(settings),
        )

    def keras_settings(self) -> Config:
        """See Kind."""
        glorot = initializer("GlorotUniform", seed=None)
        without = ("depthwise", "pointwise", "bias")
        return {
            "filters": self.filters,
            "kernel_size": list(self.window.size),
            "strides": list(self.window.strides),
            "padding": self.window.padding,
            "data_format": "channels_last",
            "dilation_rate": list(self.window.dilation),
            "depth_multiplier": self.multiplier,
            "activation": self.function.keras_name,
            "use_bias": self.use_bias,
            "depthwise_initializer": glorot,
            "pointwise_initializer": glorot,
            "bias_initializer": initializer("Zeros"),
            **{f"{name}_regularizer": None for name in (*without, "activity")},
            **{f"{name}_constraint": None for name in without},
        }

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        check_maps(inputs[0])
        return (self.filters, *self.window.places(inputs[0]))

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """See Kind."""
        channels = inputs[0][0]
        between = channels * self.multiplier
        pointwise = Weight(
            "pointwise",
            "pointwise_kernel",
            (self.filters, between, 1, 1),
            (1, 1, between, self.filters),
            axes=(3, 2, 0, 1),
            start="glorot",
        )
        depthwise = depthwise_kernel("depthwise", channels, self.multiplier, self.window)
        bias = [vector("bias", "bias", self.filters)] if self.use_bias else []
        return (depthwise, pointwise, *bias)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        between = inputs[0][0] * self.multiplier
        module = SeparableConvolution(between, self.filters, self.window, self.function)
        if self.use_bias:
            module.bias = nn.Parameter(torch.zeros(self.filters))
        return module

    def multiply_adds(self, *inputs: Shape) -> int:
        """See Kind."""
        places = math.prod(self.window.places(inputs[0]))
        return sum(weight.values for weight in self.weights(*inputs)[:2]) * places

    def workspace(self, *inputs: Shape) -> int:
        """See Kind: the values under the kernel at every position, and twice the intermediate maps,
        which are joined from those of each channel."""
        places = math.prod(self.window.places(inputs[0]))
        between = inputs[0][0] * self.multiplier
        return (math.prod(self.window.size) + 2 * between) * places

    def onnx_sums(
        self,
        nodes: OnnxNodes,
        module: nn.Module,
        sources: list[str],
        name: str,
        sums: str,
        *inputs: Shape,
    ) -> None:
        """See Kind."""
        (maps,) = inputs
        between = f"{name}_depthwise"
        depthwise = ConvolutionNodes(nodes, between, self.window, maps[0], maps)
        depthwise.add(sources[0], between, array_of(module, "depthwise"), None)
        places = (maps[0] * self.multiplier, *self.window.places(maps))
        bias = array_of(module, "bias") if self.use_bias else None
        pointwise = ConvolutionNodes(nodes, name, ONE_PLACE, 1, places)
        pointwise.add(between, sums, array_of(module, "pointwise"), bias)

    def kernels(self, weights: Tensors) -> Tensor:
        """See Kind: the product of both kernels, summed over the intermediate channels."""
        between, positions = len(weights["depthwise"]), math.prod(self.window.size)
        channels, multiplier = between // self.multiplier, self.multiplier
        depthwise = weights["depthwise"].reshape(channels, multiplier, positions)
        pointwise = weights["pointwise"].reshape(self.filters, channels, multiplier, 1)
        return (pointwise * depthwise).sum(2)

    def for_smaller_input(self, weights: Tensors, factor: float) -> Tensors:
        """See Kind."""
        return weights | {"depthwise": weights["depthwise"] * factor}

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """See Kind. Removing input channels removes none of its own."""
        return torch.ones(self.filters, dtype=torch.bool)

    def narrowed(
        self, weights: Tensors, kept: Sequence[Tensor], own: Tensor
    ) -> tuple[SeparableConv2D, Tensors]:
        """See Kind."""
        between = kept[0].repeat_interleave(self.multiplier)
        changed = {"depthwise": weights["depthwise"][between]}
        changed["pointwise"] = weights["pointwise"][own][:, between]
        if self.use_bias:
            changed["bias"] = weights["bias"][own]
        return replace(self, filters=int(own.sum())), changed
