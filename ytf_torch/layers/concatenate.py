"""Concatenate: several inputs joined along their channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from ytf_torch.layers.axes import check_last_axis, keras_shape, last_axis
from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape


class Joined(nn.Module):
    """Its inputs joined along an axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *inputs: Tensor) -> Tensor:
        """Tensors whose shapes differ only along `axis` → one tensor."""
        return torch.cat(inputs, self.axis)


@dataclass(frozen=True)
class Concatenate(Kind):
    """Concatenation along Keras's last axis: channels of feature maps, units of vectors."""

    class_names = ("Concatenate",)
    linear = True

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        check_last_axis(settings, inputs[0])
        return cls()

    def keras_settings(self) -> Config:
        """See Kind."""
        return {"axis": -1}

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        if len(inputs) < 2 or len({keras_shape(shape)[:-1] for shape in inputs}) > 1:
            shapes = ", ".join(str(keras_shape(shape)) for shape in inputs)
            raise ValueError(
                f"reads two or more inputs that differ only in their channels, found {shapes}"
            )
        axis = last_axis(inputs[0]) - 1
        shape = list(inputs[0])
        shape[axis] = sum(read[axis] for read in inputs)
        return tuple(shape)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Joined(last_axis(inputs[0]))

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        return nodes.node("Concat", sources, name, axis=last_axis(inputs[0]))

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """See Kind."""
        return torch.cat(kept)
