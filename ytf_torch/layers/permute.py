"""Permute: permutes the axes of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape


class Permuted(nn.Module):
    """Permutes the axes of a batch."""

    def __init__(self, order: Shape) -> None:
        super().__init__()
        self.order = order

    def forward(self, input: Tensor) -> Tensor:
        """(batch, …) → (batch, …)."""
        return input.permute(self.order)


@dataclass(frozen=True)
class Permute(Kind):
    """Permutation of axes. dims: Keras's axes of an image, counted from 1, in their new order."""

    class_names = ("Permute",)
    linear = True
    dims: Shape

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        value = settings.get("dims")
        dims = value if isinstance(value, list | tuple) else []
        whole = all(isinstance(axis, int) and not isinstance(axis, bool) for axis in dims)
        if not whole or sorted(dims) != list(range(1, len(inputs[0]) + 1)):
            raise settings.wrong("dims", f"the axes 1 to {len(inputs[0])} in some order", value)
        return cls(tuple(dims))

    def keras_settings(self) -> Config:
        """See Kind."""
        return {"dims": list(self.dims)}

    def _order(self) -> Shape:
        """The permutation of a batch's axes here. Keras's axis 3, the channels, is axis 1 here."""
        if len(self.dims) < 3:
            return (0, *self.dims)
        height, width, channels = (axis % 3 + 1 for axis in self.dims)
        return (0, channels, height, width)

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        if len(inputs[0]) != len(self.dims):
            raise ValueError(f"reads {len(self.dims)} axes, found {len(inputs[0])}")
        return tuple(inputs[0][axis - 1] for axis in self._order()[1:])

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Permuted(self._order())

    def workspace(self, *inputs: Shape) -> int:
        """See Kind: the layer after it may copy the permuted view to contiguous memory."""
        return math.prod(inputs[0])

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        return nodes.node("Transpose", sources, name, perm=list(self._order()))
