"""Flatten: feature maps as one vector of units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from torch import Tensor, nn

from ytf_torch.layers.kind import FlatMaps, Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape

Order = Literal["channels_first", "channels_last"]
ORDERS: tuple[Order, ...] = ("channels_last", "channels_first")


class Flat(nn.Module):
    """Flattens maps in Keras's order, H×W×C, or in PyTorch's, C×H×W."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        self.order = order

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, H, W) or (batch, units) → (batch, units)."""
        if self.order == "channels_last" and input.ndim == 4:
            input = input.permute(0, 2, 3, 1)
        return input.flatten(1)


@dataclass(frozen=True)
class Flatten(Kind):
    """Flattening of feature maps to a vector.

    order: Keras flattens H×W×C (channels_last). If the layers that follow can compensate for it
    (FlatMaps), PyTorch's order C×H×W is used, which copies no memory.
    """

    class_names = ("Flatten",)
    linear = True
    order: Order = "channels_last"

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        settings.channels_last()
        return cls(settings.choice("flattened", ORDERS, "channels_last"))

    def keras_settings(self) -> Config:
        """See Kind."""
        return {"data_format": "channels_last"}

    def in_pytorch_order(self) -> Flatten:
        """See Kind."""
        return Flatten("channels_first")

    def own_settings(self) -> Config:
        """See Kind."""
        return self.keras_settings() | {"flattened": self.order}

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        (maps,) = inputs
        if self.order == "channels_first" and len(maps) == 3:
            return FlatMaps.of(maps)
        return maps if len(maps) == 1 else (math.prod(maps),)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Flat(self.order)

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        if self.order == "channels_last" and len(inputs[0]) == 3:
            last = nodes.node("Transpose", sources, f"{name}_channels_last", perm=[0, 2, 3, 1])
            sources = [last]
        return nodes.node("Flatten", sources, name, axis=1)

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """See Kind."""
        (maps,) = inputs
        if len(maps) == 1:
            return kept[0]
        positions = math.prod(maps[1:])
        first = self.order == "channels_first"
        return kept[0].repeat_interleave(positions) if first else kept[0].repeat(positions)
