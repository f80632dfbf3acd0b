"""Base of the layers that combine several inputs elementwise: Add, Multiply, Maximum, …"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, Self

from torch import Tensor, nn

from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape

Combine = Callable[[Tensor, Tensor], Tensor]


class Combined(nn.Module):
    """Combines its inputs from left to right."""

    def __init__(self, combine: Combine) -> None:
        super().__init__()
        self.combine = combine

    def forward(self, *inputs: Tensor) -> Tensor:
        """Tensors of broadcastable shapes → one tensor."""
        return reduce(self.combine, inputs)


def combined_shape(*inputs: Shape) -> Shape:
    """The broadcast shape of several inputs with the same number of axes. Raises ValueError if they
    cannot be broadcast."""
    same_axes = len({len(shape) for shape in inputs}) == 1
    sides = list(zip(*inputs, strict=True)) if same_axes else []
    if len(inputs) < 2 or not sides or any(len({1, *side}) > 2 for side in sides):
        shapes = ", ".join(str(tuple(shape)) for shape in inputs)
        raise ValueError(f"reads two or more inputs of broadcastable shapes, found {shapes}")
    return tuple(max(side) for side in sides)


def same_kept(*kept: Tensor) -> Tensor:
    """The channels that remain of combined inputs, which must be the same in all of them, broadcast
    ones aside. Raises ValueError if they differ."""
    most = max(len(mask) for mask in kept)
    whole = [mask for mask in kept if len(mask) == most]
    if any(not other.equal(whole[0]) for other in whole[1:]):
        raise ValueError("channels cannot be removed from only some of the combined inputs")
    return whole[0]


@dataclass(frozen=True)
class Elementwise(Kind):
    """A kind without settings that combines several inputs elementwise.

    operator: the ONNX operator for two inputs.
    """

    order_free = True
    operator: ClassVar[str] = ""

    @staticmethod
    def combine(first: Tensor, second: Tensor) -> Tensor:
        """The combination of two inputs."""
        raise NotImplementedError

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        return cls()

    def keras_settings(self) -> Config:
        """See Kind."""
        return {}

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        return combined_shape(*inputs)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Combined(self.combine)

    def workspace(self, *inputs: Shape) -> int:
        """See Kind: the intermediate result."""
        return math.prod(self.output_shape(*inputs))

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        result = sources[0]
        for number, source in enumerate(sources[1:], start=1):
            last = number == len(sources) - 1
            result = nodes.node(
                self.operator, [result, source], name if last else f"{name}_{number}"
            )
        return result

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """See Kind."""
        return same_kept(*kept)
