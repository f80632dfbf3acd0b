"""Base of the layers of weighted sums that include their activation: convolutions and Dense."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from ytf_torch.layers.activations import LINEAR, Activation
from ytf_torch.layers.kind import Kind, Tensors, times, zeroed
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Settings
from ytf_torch.layers.weight import Shape
from ytf_torch.layers.windows import PADDINGS, Window


class Summing(Kind):
    """A kind that computes `activation(Σ weight · input + bias)`.

    A subclass has the fields `use_bias` and `function`, the activation. last_kernel: the name of
    the kernel that is applied last, whose first axis is the output channels or units.
    """

    linear = True
    last_kernel: ClassVar[str] = "weight"
    use_bias: bool
    function: Activation

    @property
    def activation(self) -> Activation:
        """See Kind."""
        return self.function

    def without_activation(self) -> Self:
        """See Kind."""
        # mypy does not know that every subclass is a dataclass with the field `function`.
        changed: Self = replace(cast(Any, self), function=LINEAR)
        return changed

    @abstractmethod
    def onnx_sums(
        self,
        nodes: OnnxNodes,
        module: nn.Module,
        sources: list[str],
        name: str,
        sums: str,
        *inputs: Shape,
    ) -> None:
        """Add the ONNX operators before the activation; their result is called `sums`. name: the
        layer's name."""

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        if self.function is LINEAR:
            self.onnx_sums(nodes, module, sources, name, name, *inputs)
            return name
        sums = f"{name}_sums"
        self.onnx_sums(nodes, module, sources, name, sums, *inputs)
        return self.function.onnx(nodes, sums, name)

    def multiplied(self, weights: Tensors, kernels: Tensor, biases: Tensor | None) -> Tensors:
        """See Kind."""
        return times(weights, self.last_kernel, kernels, biases)


class SummingMaps(Summing):
    """A kind of convolution: each output is a weighted sum of the values under a window."""

    maskable = True

    def silenced(self, weights: Tensors, channels: Sequence[int]) -> Tensors | None:
        """See Kind."""
        if not self.function.silent_at_zero:
            return None
        return zeroed(weights, (self.last_kernel, "bias"), channels)

    def silent(self, weights: Tensors) -> Tensor | None:
        """See Kind."""
        dead = (weights[self.last_kernel] == 0).flatten(1).all(1)
        if not self.function.silent_at_zero:
            return torch.zeros_like(dead)
        return dead & self.silent_biases(weights["bias"]) if self.use_bias else dead

    def silent_biases(self, biases: Tensor) -> Tensor:
        """Which biases make the output of a channel with a zero kernel zero, (channels,), bool."""
        return biases == 0


def read_window(settings: Settings) -> Window:
    """The window of a convolution."""
    return Window(
        settings.pair("kernel_size", None),
        settings.pair("strides", (1, 1)),
        settings.pair("dilation_rate", (1, 1)),
        settings.choice("padding", PADDINGS, "valid"),
    )
