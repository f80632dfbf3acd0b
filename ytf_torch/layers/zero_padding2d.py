"""ZeroPadding2D: adds rows and columns of zeros around feature maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from ytf_torch.layers.borders import Border
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.weight import Shape


@dataclass(frozen=True)
class ZeroPadding2D(Border):
    """Padding with rows and columns of zeros."""

    class_names = ("ZeroPadding2D",)
    setting = "padding"
    sign = 1
    default = 1

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        amounts = np.array([0, 0, self.above, self.left, 0, 0, self.below, self.right])
        constants = [nodes.constant(f"{name}_amounts", amounts), nodes.number(f"{name}_zero", 0)]
        return nodes.node("Pad", [*sources, *constants], name)
