"""Add: the elementwise sum of several inputs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ytf_torch.layers.elementwise import Elementwise
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.weight import Shape


class Sum(nn.Module):
    """The sum of its inputs."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Tensors of broadcastable shapes → their sum."""
        return sum(others, start=first)


@dataclass(frozen=True)
class Add(Elementwise):
    """The elementwise sum of its inputs."""

    class_names = ("Add",)
    linear = True

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Sum()

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        return nodes.node("Sum", sources, name)
