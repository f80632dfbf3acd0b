"""UpSampling2D: enlarges feature maps by repetition or interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.onnx_resampling import rows_and_columns
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape
from ytf_torch.layers.windows import check_maps

Interpolation = Literal["nearest", "bilinear"]
INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear")


class Enlarged(nn.Module):
    """Repeats rows and columns, or interpolates between pixel centres."""

    def __init__(self, size: tuple[int, int], interpolation: Interpolation) -> None:
        super().__init__()
        self.size, self.interpolation = size, interpolation

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, H, W) → (batch, channels, H', W')."""
        down, across = self.size
        if self.interpolation == "nearest":
            return input.repeat_interleave(down, 2).repeat_interleave(across, 3)
        sides = (input.shape[2] * down, input.shape[3] * across)
        return F.interpolate(input, sides, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class UpSampling2D(Kind):
    """Enlargement of height and width by whole factors."""

    class_names = ("UpSampling2D",)
    linear = True
    channelwise = True
    keeps_zero = True
    size: tuple[int, int]
    interpolation: Interpolation

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        settings.channels_last()
        interpolation = settings.choice("interpolation", INTERPOLATIONS, "nearest")
        return cls(settings.pair("size", (2, 2)), interpolation)

    def keras_settings(self) -> Config:
        """See Kind."""
        size = {"size": list(self.size), "interpolation": self.interpolation}
        return size | {"data_format": "channels_last"}

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        check_maps(inputs[0])
        channels, height, width = inputs[0]
        return (channels, height * self.size[0], width * self.size[1])

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Enlarged(self.size, self.interpolation)

    def workspace(self, *inputs: Shape) -> int:
        """See Kind: the maps after their rows have been repeated."""
        channels, height, width = inputs[0]
        return channels * height * self.size[0] * width

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind. Two matrix products: onnxruntime has no Resize in float64."""
        rows, columns = (self._shares(side, axis) for axis, side in enumerate(inputs[0][1:]))
        return rows_and_columns(nodes, sources[0], name, rows, columns)

    def _shares(self, side: int, axis: int) -> NDArray[np.float64]:
        """(new side, side): the weight of each row (axis 0) or column (axis 1) in each new one."""
        pixels = torch.eye(side, dtype=torch.float64)[:, None, :, None]
        enlarged = Enlarged((self.size[axis], 1), self.interpolation)(pixels)
        shares: NDArray[np.float64] = enlarged[:, 0, :, 0].numpy().T
        return shares
