"""Base of the poolings with a sliding window, MaxPooling2D and AveragePooling2D."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape
from ytf_torch.layers.windows import PADDINGS, Window, check_maps


@dataclass(frozen=True)
class Pooling(Kind):
    """Pools each channel under a sliding window. By default the strides are the window's size."""

    channelwise = True
    keeps_zero = True
    window: Window

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        settings.channels_last()
        size = settings.pair("pool_size", (2, 2))
        # In Keras, null means the window's size.
        strides = size if settings.get("strides") is None else settings.pair("strides", size)
        return cls(Window(size, strides, (1, 1), settings.choice("padding", PADDINGS, "valid")))

    def keras_settings(self) -> Config:
        """See Kind."""
        return {
            "padding": self.window.padding,
            "data_format": "channels_last",
            "pool_size": list(self.window.size),
            "strides": list(self.window.strides),
        }

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        check_maps(inputs[0])
        return (inputs[0][0], *self.window.places(inputs[0]))

    def onnx_pool(
        self, nodes: OnnxNodes, operator: str, sources: list[str], name: str, maps: Shape
    ) -> str:
        """Add the ONNX pooling `operator` with this window."""
        pads = self.window.onnx_pads(maps)
        padding = {"pads": pads} if any(pads) else {}
        size, strides = list(self.window.size), list(self.window.strides)
        return nodes.node(operator, sources, name, kernel_shape=size, strides=strides, **padding)
