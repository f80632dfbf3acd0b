"""Cropping2D: removes rows and columns at the border of feature maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from ytf_torch.layers.borders import Border
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.weight import Shape


@dataclass(frozen=True)
class Cropping2D(Border):
    """Cropping of rows and columns at the border."""

    class_names = ("Cropping2D",)
    setting = "cropping"
    sign = -1
    default = 0

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        _, height, width = inputs[0]
        limits = {
            "starts": [self.above, self.left],
            "ends": [height - self.below, width - self.right],
            "axes": [2, 3],
        }
        constants = [
            nodes.constant(f"{name}_{limit}", np.array(values)) for limit, values in limits.items()
        ]
        return nodes.node("Slice", [*sources, *constants], name)
