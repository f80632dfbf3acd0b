"""What the layers share that combine several outputs value by value: Add, Multiply, Maximum, …"""

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
    """Combines its inputs, the first two first."""

    def __init__(self, combine: Combine) -> None:
        super().__init__()
        self.combine = combine

    def forward(self, *inputs: Tensor) -> Tensor:
        """Tensors of fitting shapes → one."""
        return reduce(self.combine, inputs)


def combined_shape(*inputs: Shape) -> Shape:
    """The shape of what is combined value by value; an axis of length 1 is repeated along those of
    the others. Raises ValueError where they do not fit."""
    same_axes = len({len(shape) for shape in inputs}) == 1
    sides = list(zip(*inputs, strict=True)) if same_axes else []
    if len(inputs) < 2 or not sides or any(len({1, *side}) > 2 for side in sides):
        found = ", ".join(str(tuple(shape)) for shape in inputs)
        raise ValueError(f"reads two or more outputs of shapes that fit, found {found}")
    return tuple(max(side) for side in sides)


def same_kept(*kept: Tensor) -> Tensor:
    """What remains of inputs that belong together, but for those that are repeated along the
    others. Raises ValueError where it differs."""
    most = max(len(each) for each in kept)
    whole = [each for each in kept if len(each) == most]
    if any(not other.equal(whole[0]) for other in whole[1:]):
        raise ValueError("channels cannot be taken out of only some of what is combined")
    return whole[0]


@dataclass(frozen=True)
class Elementwise(Kind):
    """A kind without settings that combines several outputs value by value.

    operator: the ONNX operator of two inputs.
    """

    order_free = True
    operator: ClassVar[str] = ""

    @staticmethod
    def combine(first: Tensor, second: Tensor) -> Tensor:
        """What it makes of two values."""
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
        """See Kind: what is combined so far."""
        return math.prod(self.output_shape(*inputs))

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        before = sources[0]
        for number, source in enumerate(sources[1:], start=1):
            last = number == len(sources) - 1
            before = nodes.node(
                self.operator, [before, source], name if last else f"{name}_{number}"
            )
        return before

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """See Kind."""
        return same_kept(*kept)
