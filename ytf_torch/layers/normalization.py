"""Normalization: values standardised by the mean and variance of a data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from ytf_torch.layers.affine import Numbers, for_channels, kept_numbers, onnx_for_channels, plain
from ytf_torch.layers.axes import check_last_axis, keras_shape
from ytf_torch.layers.kind import Kind, Tensors
from ytf_torch.layers.onnx_nodes import OnnxNodes, array_of
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape, Weight

# Keras's lower bound of the standard deviation (backend.epsilon()).
LEAST_DEVIATION = 1e-7


class StoredStatistics(nn.Module):
    """`(x − mean) / max(√variance, LEAST_DEVIATION)`, with statistics stored as weights."""

    mean: Tensor
    variance: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, input: Tensor) -> Tensor:
        """A tensor → one of the same shape."""
        deviation = self.variance.sqrt().clamp(min=LEAST_DEVIATION)
        if input.ndim == 4:
            mean = self.mean.reshape(-1, 1, 1)
            return (input - mean) / deviation.reshape(-1, 1, 1)
        return (input - self.mean) / deviation


class StatedStatistics(nn.Module):
    """The same as StoredStatistics, with statistics from the configuration."""

    def __init__(self, mean: Numbers, variance: Numbers) -> None:
        super().__init__()
        self.mean, self.variance = mean, variance

    def forward(self, input: Tensor) -> Tensor:
        """A tensor → one of the same shape."""
        deviation = for_channels(self.variance, input).sqrt().clamp(min=LEAST_DEVIATION)
        return (input - for_channels(self.mean, input)) / deviation


@dataclass(frozen=True)
class Normalization(Kind):
    """Standardisation. each: True for statistics per channel, False for one mean and variance.
    mean, variance: from the configuration; None if they are stored with the weights, as Keras's
    adapt() does."""

    class_names = ("Normalization",)
    linear = True
    channelwise = True
    each: bool
    mean: Numbers | None = None
    variance: Numbers | None = None

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        settings.choice("invert", (False,), False)
        axis = settings.get("axis", -1)
        each = axis is not None and axis not in ([], ())
        if each:
            check_last_axis(settings, inputs[0])
        if settings.get("mean") is None and settings.get("variance") is None:
            return cls(each)
        channels = keras_shape(inputs[0])[-1] if each else 1
        mean, variance = (settings.numbers(name, channels) for name in ("mean", "variance"))
        if min(variance) < 0:
            raise settings.wrong("variance", "numbers from 0 on", variance)
        return cls(each, mean, variance)

    def keras_settings(self) -> Config:
        """See Kind."""
        mean, variance = (
            None if numbers is None else plain(numbers) for numbers in (self.mean, self.variance)
        )
        axis = -1 if self.each else None
        return {"axis": axis, "invert": False, "mean": mean, "variance": variance}

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        return tuple(inputs[0])

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """See Kind. count: the number of values that adapt() has seen; it is only written back."""
        if self.mean is not None:
            return ()
        shape: Shape = (keras_shape(inputs[0])[-1],) if self.each else ()
        axes = tuple(range(len(shape)))
        return (
            Weight("mean", "mean", shape, shape, axes, trained=False),
            Weight("variance", "variance", shape, shape, axes, trained=False, start="ones"),
            Weight("count", "count", (), (), (), trained=False),
        )

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        if self.mean is not None and self.variance is not None:
            return StatedStatistics(self.mean, self.variance)
        return StoredStatistics(self.weights(*inputs)[0].shape)

    def workspace(self, *inputs: Shape) -> int:
        """See Kind: the difference."""
        return math.prod(inputs[0])

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        mean, variance = self.mean, self.variance
        if mean is None or variance is None:
            stored = (array_of(module, part).reshape(-1) for part in ("mean", "variance"))
            mean, variance = (tuple(array.tolist()) for array in stored)
        deviation = tuple(max(value**0.5, LEAST_DEVIATION) for value in variance)
        subtracted = onnx_for_channels(nodes, f"{name}_mean", mean, inputs[0])
        divisor = onnx_for_channels(nodes, f"{name}_deviation", deviation, inputs[0])
        centred = nodes.node("Sub", [*sources, subtracted], f"{name}_apart")
        return nodes.node("Div", [centred, divisor], name)

    def narrowed(
        self, weights: Tensors, kept: Sequence[Tensor], own: Tensor
    ) -> tuple[Normalization, Tensors]:
        """See Kind."""
        changed = {name: tensor[own] if tensor.ndim else tensor for name, tensor in weights.items()}
        if self.mean is None or self.variance is None:
            return self, changed
        mean, variance = kept_numbers(self.mean, own), kept_numbers(self.variance, own)
        return Normalization(self.each, mean, variance), changed
