"""Average: the elementwise mean of several inputs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ytf_torch.layers.elementwise import Elementwise
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.weight import Shape


class Mean(nn.Module):
    """The mean of its inputs."""

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Tensors of broadcastable shapes → their mean."""
        return sum(others, start=first) / (1 + len(others))


@dataclass(frozen=True)
class Average(Elementwise):
    """The elementwise mean of its inputs."""

    class_names = ("Average",)
    linear = True

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Mean()

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind. A sum and a division: onnxruntime has no Mean in float64."""
        total = nodes.node("Sum", sources, f"{name}_total")
        return nodes.node("Div", [total, nodes.number(f"{name}_count", len(sources))], name)
