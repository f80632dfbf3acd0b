"""DepthwiseConv2D: a convolution of each channel separately, including its activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from ytf_torch.layers.activations import Activation, read_activation
from ytf_torch.layers.conv2d import Conv2D
from ytf_torch.layers.kind import Tensors
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.summing import SummingMaps, read_window
from ytf_torch.layers.training import initializer
from ytf_torch.layers.weight import Shape, Weight, vector
from ytf_torch.layers.windows import Window, check_maps


def depthwise_kernel(name: str, channels: int, multiplier: int, window: Window) -> Weight:
    """A kernel with `multiplier` filters for each channel: in Keras (height, width, channels,
    multiplier), in PyTorch that of a convolution with one group per channel."""
    size = window.size
    keras_shape = (*size, channels, multiplier)
    shape = (channels * multiplier, 1, *size)
    return Weight(name, "depthwise_kernel", shape, keras_shape, (2, 3, 0, 1), start="glorot")


@dataclass(frozen=True)
class DepthwiseConv2D(SummingMaps):
    """Depthwise convolution. multiplier: output channels for each input channel."""

    class_names = ("DepthwiseConv2D",)
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
            settings.integer("depth_multiplier", 1),
            read_window(settings),
            settings.boolean("use_bias", True),
            read_activation(settings),
        )

    def keras_settings(self) -> Config:
        """See Kind. Without `groups`, which Keras 3 refuses here."""
        return {
            "kernel_size": list(self.window.size),
            "strides": list(self.window.strides),
            "padding": self.window.padding,
            "depth_multiplier": self.multiplier,
            "data_format": "channels_last",
            "dilation_rate": list(self.window.dilation),
            "activation": self.function.keras_name,
            "use_bias": self.use_bias,
            "depthwise_initializer": initializer("GlorotUniform", seed=None),
            "bias_initializer": initializer("Zeros"),
            "depthwise_regularizer": None,
            "bias_regularizer": None,
            "activity_regularizer": None,
            "depthwise_constraint": None,
            "bias_constraint": None,
        }

    @property
    def channelwise(self) -> bool:  # type: ignore[override]
        """See Kind. Only with one filter per channel."""
        return self.multiplier == 1 and not self.function.across_channels

    def _in_groups(self, maps: Shape) -> Conv2D:
        """The equivalent convolution with one group per channel."""
        check_maps(maps)
        channels = maps[0]
        filters = channels * self.multiplier
        return Conv2D(filters, self.window, channels, self.use_bias, self.function)

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        return self._in_groups(inputs[0]).output_shape(*inputs)

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """See Kind."""
        channels = inputs[0][0]
        kernel = depthwise_kernel("weight", channels, self.multiplier, self.window)
        return (kernel, vector("bias", "bias", kernel.shape[0])) if self.use_bias else (kernel,)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return self._in_groups(inputs[0]).module(*inputs)

    def multiply_adds(self, *inputs: Shape) -> int:
        """See Kind."""
        return self._in_groups(inputs[0]).multiply_adds(*inputs)

    def workspace(self, *inputs: Shape) -> int:
        """See Kind."""
        return self._in_groups(inputs[0]).workspace(*inputs)

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
        in_groups = self._in_groups(inputs[0])
        in_groups.onnx_sums(nodes, module, sources, name, sums, *inputs)

    def silent(self, weights: Tensors) -> Tensor | None:
        """See Kind. None for several filters per channel: one of them cannot be removed alone."""
        if self.multiplier > 1:
            return None
        return self._in_groups((len(weights["weight"]), *self.window.size)).silent(weights)

    def kernels(self, weights: Tensors) -> Tensor:
        """See Kind."""
        return weights["weight"].flatten(2)

    def for_smaller_input(self, weights: Tensors, factor: float) -> Tensors:
        """See Kind."""
        return weights | {"weight": weights["weight"] * factor}

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """See Kind. All output channels of a removed channel are removed with it."""
        if self.function.across_channels:
            raise ValueError(f"channels cannot be removed before {self.function.name}")
        return kept[0].repeat_interleave(self.multiplier)

    def narrowed(
        self, weights: Tensors, kept: Sequence[Tensor], own: Tensor
    ) -> tuple[DepthwiseConv2D, Tensors]:
        """See Kind."""
        return self, {name: tensor[own] for name, tensor in weights.items()}
