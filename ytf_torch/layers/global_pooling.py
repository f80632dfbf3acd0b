"""Base of the global poolings: the mean or the maximum of each channel over a whole image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor, nn

from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape


class Pooled(nn.Module):
    """The mean or the maximum over some axes."""

    def __init__(self, largest: bool, axes: tuple[int, ...], keep_axes: bool) -> None:
        super().__init__()
        self.largest, self.axes, self.keep_axes = largest, axes, keep_axes

    def forward(self, input: Tensor) -> Tensor:
        """(batch, …) → (batch, channels, …)."""
        pool = input.amax if self.largest else input.mean
        return pool(self.axes, keepdim=self.keep_axes)


@dataclass(frozen=True)
class GlobalPooling(Kind):
    """A pooling over whole images.

    keep_axes: whether the pooled axes remain, with length 1. axes: the axes of a batch that are
    pooled. channels: the axis of the channels.
    """

    axes: ClassVar[tuple[int, ...]] = (2, 3)
    channels: ClassVar[int] = 1
    keep_axes: bool

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        settings.channels_last()
        return cls(settings.boolean("keepdims", False))

    def keras_settings(self) -> Config:
        """See Kind. `keepdims` is written only if it is true: Keras before 2.6 does not know it."""
        keep = {"keepdims": True} if self.keep_axes else {}
        return {"data_format": "channels_last", **keep}

    @property
    def channelwise(self) -> bool:  # type: ignore[override]
        """See Kind."""
        return self.keep_axes and len(self.axes) == 2

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        (shape,) = inputs
        if len(shape) != len(self.axes) + 1:
            raise ValueError(f"reads {len(self.axes) + 1} axes, found {len(shape)}")
        kept = (1 if axis in self.axes else side for axis, side in enumerate(shape, start=1))
        return tuple(kept) if self.keep_axes else (shape[self.channels - 1],)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Pooled(self.largest, self.axes, self.keep_axes)

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        operator = "ReduceMax" if self.largest else "ReduceMean"
        return nodes.node(
            operator, sources, name, axes=list(self.axes), keepdims=int(self.keep_axes)
        )

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """See Kind."""
        return kept[0]
