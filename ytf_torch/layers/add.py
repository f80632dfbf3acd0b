"""Add: the sum of several outputs of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape


class Sum(nn.Module):
    """Adds its inputs up."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Tensors of one shape → their sum."""
        return sum(others, start=first)


def one_shape(*inputs: Shape) -> Shape:
    """The shape that all inputs have. Raises ValueError where they differ: Keras would repeat one
    along the other, which no published network was found to rely on."""
    if len(inputs) < 2 or any(tuple(shape) != tuple(inputs[0]) for shape in inputs):
        raise ValueError(
            f"reads two or more outputs of one shape, found {', '.join(map(str, inputs))}"
        )
    return inputs[0]


def same_kept(*kept: Tensor) -> Tensor:
    """What remains of inputs that belong together. Raises ValueError where it differs."""
    if any(not other.equal(kept[0]) for other in kept[1:]):
        raise ValueError("channels cannot be taken out of only some of what is combined")
    return kept[0]


@dataclass(frozen=True)
class Add(Kind):
    """A sum."""

    class_names = ("Add",)
    linear = True
    order_free = True

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        return cls()

    def keras_settings(self) -> Config:
        """See Kind."""
        return {}

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        return one_shape(*inputs)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Sum()

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        return nodes.node("Sum", sources, name)

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """See Kind."""
        return same_kept(*kept)
