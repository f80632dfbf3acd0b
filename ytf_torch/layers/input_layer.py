"""InputLayer: the input of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import nn

from ytf_torch.errors import mismatch
from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape


@dataclass(frozen=True)
class InputLayer(Kind):
    """The input. shape: (channels, height, width) of one image."""

    class_names = ("InputLayer",)
    shape: Shape

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        for name in ("sparse", "ragged", "optional"):
            settings.choice(name, (False,), False)
        return cls(input_shape(settings))

    def keras_settings(self) -> Config:
        """See Kind."""
        channels, height, width = self.shape
        shape = [None, height, width, channels]
        return {"batch_input_shape": shape, "sparse": False, "ragged": False}

    def own_settings(self) -> Config:
        """See Kind."""
        return self.keras_settings()

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        return self.shape

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return nn.Identity()

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        return sources[0]


def input_shape(settings: Settings) -> Shape:
    """The input shape (channels, height, width) of a layer, from its `batch_input_shape` or
    `batch_shape`, which is (batch, height, width, channels). Raises InputError if a side is not a
    fixed number."""
    stated = settings.get("batch_input_shape") or settings.get("batch_shape")
    numbers = stated[1:] if isinstance(stated, list) and len(stated) == 4 else []
    whole = [isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in numbers]
    if not whole or not all(whole):
        remedy = "Build it with an input of a fixed size, load the weights into it, save that"
        expected = "an input of (batch, height, width, channels), each side a number"
        raise mismatch(settings.where, expected, str(stated)[:80], remedy)
    height, width, channels = numbers
    return (channels, height, width)
