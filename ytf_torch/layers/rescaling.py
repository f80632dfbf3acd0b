"""Rescaling: multiplies by a constant and adds a constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from ytf_torch.layers.affine import Numbers, for_channels, kept_numbers, onnx_for_channels, plain
from ytf_torch.layers.axes import keras_shape
from ytf_torch.layers.kind import Kind, Tensors
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape


class Scaled(nn.Module):
    """`x · scale + offset`."""

    def __init__(self, scale: Numbers, offset: Numbers) -> None:
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, input: Tensor) -> Tensor:
        """A tensor → one of the same shape."""
        return input * for_channels(self.scale, input) + for_channels(self.offset, input)


@dataclass(frozen=True)
class Rescaling(Kind):
    """Scale and offset, one for all channels or one per channel."""

    class_names = ("Rescaling",)
    linear = True
    channelwise = True
    scale: Numbers
    offset: Numbers

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        settings.channels_last()
        channels = keras_shape(inputs[0])[-1]
        return cls(settings.numbers("scale", channels), settings.numbers("offset", channels, 0.0))

    def keras_settings(self) -> Config:
        """See Kind."""
        return {"scale": plain(self.scale), "offset": plain(self.offset)}

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        return tuple(inputs[0])

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Scaled(self.scale, self.offset)

    def workspace(self, *inputs: Shape) -> int:
        """See Kind: the product."""
        return math.prod(inputs[0])

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        scale = onnx_for_channels(nodes, f"{name}_scale", self.scale, inputs[0])
        offset = onnx_for_channels(nodes, f"{name}_offset", self.offset, inputs[0])
        product = nodes.node("Mul", [*sources, scale], f"{name}_product")
        return nodes.node("Add", [product, offset], name)

    def narrowed(
        self, weights: Tensors, kept: Sequence[Tensor], own: Tensor
    ) -> tuple[Rescaling, Tensors]:
        """See Kind."""
        return Rescaling(kept_numbers(self.scale, own), kept_numbers(self.offset, own)), weights
