"""Reshape: the same values, in Keras's order, with another shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor, nn

from ytf_torch.layers.axes import (
    channels_first,
    channels_last,
    from_keras_shape,
    onnx_channels_last,
)
from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import LARGEST, Config, Settings
from ytf_torch.layers.weight import Shape


class Reshaped(nn.Module):
    """Reshapes in Keras's order of axes. target: the new shape of one image in that order."""

    def __init__(self, target: Shape) -> None:
        super().__init__()
        self.target = target

    def forward(self, input: Tensor) -> Tensor:
        """(batch, …) → (batch, …)."""
        return channels_first(channels_last(input).reshape(len(input), *self.target))


@dataclass(frozen=True)
class Reshape(Kind):
    """Reshaping to a vector of units, to two axes, or to feature maps.

    target: the new shape of one image in Keras's order; at most one axis is -1 and inferred.
    """

    class_names = ("Reshape",)
    linear = True
    target: Shape

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        value = settings.get("target_shape")
        sides = value if isinstance(value, list | tuple) else []
        whole = [isinstance(side, int) and not isinstance(side, bool) for side in sides]
        fitting = 1 <= len(sides) <= 3 and all(whole)
        if not fitting or not all(side == -1 or 0 < side < LARGEST for side in sides):
            raise settings.wrong("target_shape", "one to three whole numbers", value)
        return cls(tuple(sides))

    def keras_settings(self) -> Config:
        """See Kind."""
        return {"target_shape": list(self.target)}

    def _target(self, shape: Shape) -> Shape:
        """`target` with -1 inferred. Raises ValueError if the number of values does not fit."""
        values, fixed = math.prod(shape), math.prod(side for side in self.target if side != -1)
        free = self.target.count(-1)
        if free > 1 or values % fixed or (not free and values != fixed):
            raise ValueError(f"reads {values} values, which do not fit into {self.target}")
        return tuple(values // fixed if side == -1 else side for side in self.target)

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        return from_keras_shape(self._target(inputs[0]))

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Reshaped(self._target(inputs[0]))

    def workspace(self, *inputs: Shape) -> int:
        """See Kind: copies in Keras's order of axes, of the input and of the output."""
        return 2 * math.prod(inputs[0])

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        target = self._target(inputs[0])
        last = onnx_channels_last(nodes, sources[0], f"{name}_channels_last", inputs[0])
        shape = nodes.constant(f"{name}_shape", np.array([0, *target]))
        if len(target) != 3:
            return nodes.node("Reshape", [last, shape], name)
        reshaped = nodes.node("Reshape", [last, shape], f"{name}_reshaped")
        return nodes.node("Transpose", [reshaped], name, perm=[0, 3, 1, 2])
