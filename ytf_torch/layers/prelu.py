"""PReLU: a ReLU with a learned slope below zero, per value or shared along axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from ytf_torch.layers.kind import Kind, Tensors
from ytf_torch.layers.onnx_formula import Formula
from ytf_torch.layers.onnx_nodes import OnnxNodes, array_of
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.training import initializer
from ytf_torch.layers.weight import Shape, Weight, vector
from ytf_torch.layers.windows import check_row_or_maps


class LearnedSlope(nn.Module):
    """`x` for x > 0, else `alpha · x`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(shape))

    def forward(self, input: Tensor) -> Tensor:
        """A tensor → one of the same shape."""
        return input.clamp(min=0) + self.alpha * input.clamp(max=0)


@dataclass(frozen=True)
class PReLU(Kind):
    """ReLU with learned slopes below zero. shared: Keras's axes along which one slope is shared; of
    feature maps 1 is the height, 2 the width, 3 the channels."""

    class_names = ("PReLU",)
    channelwise = True
    keeps_zero = True
    shared: Shape

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        value = settings.get("shared_axes")
        axes = value if isinstance(value, list | tuple) else [] if value is None else [value]
        if any(isinstance(axis, bool) or axis not in range(1, len(inputs[0]) + 1) for axis in axes):
            raise settings.wrong("shared_axes", f"axes from 1 to {len(inputs[0])}", value)
        return cls(tuple(axes))

    def keras_settings(self) -> Config:
        """See Kind."""
        return {
            "alpha_initializer": initializer("Zeros"),
            "alpha_regularizer": None,
            "alpha_constraint": None,
            "shared_axes": list(self.shared) or None,
        }

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind. A plain tuple drops FlatMaps: its weights are in Keras's order of units, so a
        Flatten before it must keep that order."""
        check_row_or_maps(inputs[0])
        return tuple(inputs[0])

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """See Kind."""
        if len(inputs[0]) == 1:
            return (vector("alpha", "alpha", 1 if self.shared else inputs[0][0]),)
        sides = {3: inputs[0][0], 1: inputs[0][1], 2: inputs[0][2]}
        channels, height, width = (
            1 if axis in self.shared else side for axis, side in sides.items()
        )
        shape, keras_shape = (channels, height, width), (height, width, channels)
        return (Weight("alpha", "alpha", shape, keras_shape, axes=(2, 0, 1)),)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return LearnedSlope(self.weights(*inputs)[0].shape)

    def workspace(self, *inputs: Shape) -> int:
        """See Kind: the positive part, the negative part, and its product with alpha."""
        return 3 * math.prod(inputs[0])

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        alpha = nodes.constant(f"{name}.alpha", array_of(module, "alpha"))
        formula = Formula(nodes, name)
        below = formula.add("Mul", formula.add("Min", sources[0], 0), alpha)
        return formula.end("Add", formula.add("Relu", sources[0]), below)

    def narrowed(
        self, weights: Tensors, kept: Sequence[Tensor], own: Tensor
    ) -> tuple[PReLU, Tensors]:
        """See Kind."""
        alpha = weights["alpha"]
        return self, {"alpha": alpha[own] if len(alpha) == len(own) else alpha}
