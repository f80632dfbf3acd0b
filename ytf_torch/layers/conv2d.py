"""Conv2D: a convolution that includes its activation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from ytf_torch.layers.activations import Activation, read_activation
from ytf_torch.layers.kind import Tensors
from ytf_torch.layers.onnx_convolution import ConvolutionNodes
from ytf_torch.layers.onnx_nodes import OnnxNodes, array_of
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.summing import SummingMaps, read_window
from ytf_torch.layers.training import FOR_TRAINING
from ytf_torch.layers.weight import Shape, Weight, vector
from ytf_torch.layers.windows import Window, check_maps


class Convolution(nn.Conv2d):
    """A convolution that ends in its activation, as Keras's Conv2D(activation="relu").

    A forward hook on it therefore sees what Keras calls the layer's output.
    """

    bias: Tensor  # None without `use_bias`

    def __init__(
        self,
        channels_in: int,
        channels: int,
        window: Window,
        groups: int,
        activation: Activation,
        *,
        bias: bool,
    ) -> None:
        super().__init__(
            channels_in, channels, window.size, window.strides, 0, window.dilation, groups, bias
        )
        self.window, self.activation = window, activation

    def before_activation(self, input: Tensor) -> Tensor:
        """(batch, channels_in, H, W) → pre-activations (batch, channels, H', W')."""
        return nn.Conv2d.forward(self, self.window.pad(input))

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels_in, H, W) → (batch, channels, H', W')."""
        return self.activation.overwrite(self.before_activation(input))


@dataclass(frozen=True)
class Conv2D(SummingMaps):
    """Convolution. Keras's kernels are (height, width, in / groups, out), even in files of networks
    that compute channels first."""

    class_names = ("Conv2D", "Convolution2D")
    filters: int
    window: Window
    groups: int
    use_bias: bool
    function: Activation

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        settings.channels_last()
        return cls(
            settings.integer("filters"),
            read_window(settings),
            settings.integer("groups", 1),
            settings.boolean("use_bias", True),
            read_activation(settings),
        )

    def keras_settings(self) -> Config:
        """See Kind."""
        return {
            "filters": self.filters,
            "kernel_size": list(self.window.size),
            **FOR_TRAINING,
            "padding": self.window.padding,
            "data_format": "channels_last",
            "strides": list(self.window.strides),
            "dilation_rate": list(self.window.dilation),
            "groups": self.groups,
            "activation": self.function.keras_name,
            "use_bias": self.use_bias,
        }

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        (maps,) = inputs
        check_maps(maps)
        if maps[0] % self.groups or self.filters % self.groups:
            raise ValueError(
                f"{maps[0]} channels and {self.filters} filters in {self.groups} groups"
            )
        return (self.filters, *self.window.places(maps))

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """See Kind."""
        size, channels_in = self.window.size, inputs[0][0] // self.groups
        kernel = Weight(
            "weight",
            "kernel",
            (self.filters, channels_in, *size),
            (*size, channels_in, self.filters),
            axes=(3, 2, 0, 1),
            start="glorot",
        )
        return (kernel, vector("bias", "bias", self.filters)) if self.use_bias else (kernel,)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Convolution(
            inputs[0][0], self.filters, self.window, self.groups, self.function, bias=self.use_bias
        )

    def multiply_adds(self, *inputs: Shape) -> int:
        """See Kind."""
        return math.prod(self.weights(*inputs)[0].shape) * math.prod(self.window.places(inputs[0]))

    def workspace(self, *inputs: Shape) -> int:
        """See Kind. An upper bound for im2col, which PyTorch uses in float64: the values under the
        kernel at every position, for one group at a time, and the groups' outputs before they are
        joined."""
        kernel, places = self.weights(*inputs)[0].shape, math.prod(self.window.places(inputs[0]))
        joined = self.filters if self.groups > 1 else 0
        return (math.prod(kernel[1:]) + joined) * places

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
        bias = array_of(module, "bias") if self.use_bias else None
        convolution = ConvolutionNodes(nodes, name, self.window, self.groups, inputs[0])
        convolution.add(sources[0], sums, array_of(module, "weight"), bias)

    def silent_biases(self, biases: Tensor) -> Tensor:
        """See SummingMaps. A ReLU turns negative biases into zero as well."""
        return biases <= 0 if self.function.name in ("relu", "relu6") else biases == 0

    def kernels(self, weights: Tensors) -> Tensor:
        """See Kind."""
        return weights["weight"].flatten(2)

    def for_smaller_input(self, weights: Tensors, factor: float) -> Tensors:
        """See Kind."""
        return weights | {"weight": weights["weight"] * factor}

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """See Kind. Removing input channels removes none of its own."""
        if self.groups > 1 and not bool(kept[0].all()):
            raise ValueError("channels cannot be removed before a grouped convolution")
        return torch.ones(self.filters, dtype=torch.bool)

    def narrowed(
        self, weights: Tensors, kept: Sequence[Tensor], own: Tensor
    ) -> tuple[Conv2D, Tensors]:
        """See Kind."""
        changed = {name: tensor[own] for name, tensor in weights.items()}
        if self.groups == 1:
            changed["weight"] = changed["weight"][:, kept[0]]
        return replace(self, filters=int(own.sum())), changed
