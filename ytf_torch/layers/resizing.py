"""Resizing: only to the size that images already have, because other sizes need interpolation,
which would not be exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import nn

from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape
from ytf_torch.layers.windows import check_maps

# How Keras would interpolate, crop and pad: without effect if the size does not change.
WITHOUT_EFFECT = (
    *("interpolation", "crop_to_aspect_ratio", "pad_to_aspect_ratio", "fill_mode", "fill_value"),
    "antialias",
)


@dataclass(frozen=True)
class Resizing(Kind):
    """Resizing to the size that the input already has."""

    class_names = ("Resizing",)
    linear = True
    channelwise = True
    height: int
    width: int

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        settings.channels_last()
        for name in WITHOUT_EFFECT:
            settings.get(name)
        return cls(settings.integer("height"), settings.integer("width"))

    def keras_settings(self) -> Config:
        """See Kind."""
        return {"height": self.height, "width": self.width}

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        check_maps(inputs[0])
        height, width = inputs[0][1:]
        if (height, width) != (self.height, self.width):
            raise ValueError(
                f"resizes {height}×{width} to {self.height}×{self.width}; resize the images before"
            )
        return tuple(inputs[0])

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return nn.Identity()

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        return nodes.node("Identity", sources, name)
