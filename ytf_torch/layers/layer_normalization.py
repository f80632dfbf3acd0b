"""LayerNormalization: the channels at each position, or the units of a vector, standardised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.layers.axes import channels_first, channels_last, check_last_axis
from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_formula import Formula
from ytf_torch.layers.onnx_nodes import OnnxNodes, array_of
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.training import initializer
from ytf_torch.layers.weight import Shape, Weight, gamma_and_beta
from ytf_torch.layers.windows import check_row_or_maps


class NormalisedLayer(nn.Module):
    """`(x − mean) / √(variance + epsilon) · weight + bias` over the channels of each position."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, channels: int, epsilon: float, scale: bool, center: bool) -> None:
        super().__init__()
        self.channels, self.epsilon = channels, epsilon
        self.weight = nn.Parameter(torch.ones(channels)) if scale else None
        self.bias = nn.Parameter(torch.zeros(channels)) if center else None

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, …) → the same shape."""
        last = channels_last(input)
        shape = (self.channels,)
        return channels_first(F.layer_norm(last, shape, self.weight, self.bias, self.epsilon))


@dataclass(frozen=True)
class LayerNormalization(Kind):
    """Layer normalization over Keras's last axis."""

    class_names = ("LayerNormalization",)
    epsilon: float
    center: bool
    scale: bool

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        check_last_axis(settings, inputs[0])
        settings.choice("rms_scaling", (False,), False)
        return cls(
            settings.number("epsilon", 1e-3, least=0),
            settings.boolean("center", True),
            settings.boolean("scale", True),
        )

    def keras_settings(self) -> Config:
        """See Kind."""
        return {
            "axis": -1,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializer("Zeros"),
            "gamma_initializer": initializer("Ones"),
            "beta_regularizer": None,
            "gamma_regularizer": None,
            "beta_constraint": None,
            "gamma_constraint": None,
        }

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind. A plain tuple drops FlatMaps: its weights are in Keras's order of units, so a
        Flatten before it must keep that order."""
        check_row_or_maps(inputs[0])
        return tuple(inputs[0])

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """See Kind."""
        return gamma_and_beta(inputs[0][0], self.scale, self.center)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return NormalisedLayer(inputs[0][0], self.epsilon, self.scale, self.center)

    def workspace(self, *inputs: Shape) -> int:
        """See Kind: copies in Keras's order of axes, of the input and of the output."""
        return 2 * math.prod(inputs[0])

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        formula, ones = Formula(nodes, name), (1,) * (len(inputs[0]) - 1)
        mean = formula.add("ReduceMean", sources[0], axes=[1], keepdims=1)
        centred = formula.add("Sub", sources[0], mean)
        squares = formula.add("Mul", centred, centred)
        variance = formula.add("ReduceMean", squares, axes=[1], keepdims=1)
        deviation = formula.add("Sqrt", formula.add("Add", variance, self.epsilon))
        steps = [("Mul", "weight")] * self.scale + [("Add", "bias")] * self.center
        result = (formula.add if steps else formula.end)("Div", centred, deviation)
        for number, (operator, part) in enumerate(steps, start=1):
            array = array_of(module, part)
            constant = nodes.constant(f"{name}.{part}", array.reshape(len(array), *ones))
            add = formula.end if number == len(steps) else formula.add
            result = add(operator, result, constant)
        return result
