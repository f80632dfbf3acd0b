"""BatchNormalization: each channel standardised by stored statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ytf_torch.layers.axes import check_last_axis
from ytf_torch.layers.kind import Kind, Tensors, times, zeroed
from ytf_torch.layers.onnx_nodes import OnnxNodes, array_of
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.training import initializer
from ytf_torch.layers.weight import Shape, Weight, gamma_and_beta, vector
from ytf_torch.layers.windows import check_row_or_maps

# Weight of a batch's statistics in the running statistics, if they are learned; PyTorch's default.
MOMENTUM = 0.1


class Standardised(nn.Module):
    """`(x − mean) / √(variance + epsilon) · weight + bias`.

    Uses the stored statistics in training mode too, unless it learns them (LearnsStatistics): then
    those of the batch.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, channels: int, epsilon: float, scale: bool, center: bool) -> None:
        super().__init__()
        self.epsilon, self.out_channels = epsilon, channels
        self.learns_statistics = False
        self.weight = nn.Parameter(torch.ones(channels)) if scale else None
        self.bias = nn.Parameter(torch.zeros(channels)) if center else None
        self.mean: Tensor
        self.variance: Tensor
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, …) → the same shape."""
        use_batch = self.training and self.learns_statistics
        use_batch = use_batch and input.numel() > self.out_channels  # one value has no variance
        statistics = (self.mean, self.variance)
        return F.batch_norm(
            input, *statistics, self.weight, self.bias, use_batch, MOMENTUM, self.epsilon
        )


@dataclass(frozen=True)
class BatchNormalization(Kind):
    """Batch normalization over channels of feature maps or units of a vector.

    momentum: Keras's setting, kept for writing the layer back; it is not used here.
    """

    class_names = (
        *("BatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2"),
        "SyncBatchNormalization",
    )
    linear = True
    channelwise = True
    epsilon: float
    center: bool
    scale: bool
    momentum: float

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        check_last_axis(settings, inputs[0])
        for name in ("renorm", "virtual_batch_size", "adjustment"):
            settings.choice(name, (False, None), None)
        settings.choice("mode", (0,), 0)  # Keras 1: 0 means statistics for each channel
        for without_effect in ("fused", "synchronized", "renorm_clipping", "renorm_momentum"):
            settings.get(without_effect)
        return cls(
            settings.number("epsilon", 1e-3, least=0),
            settings.boolean("center", True),
            settings.boolean("scale", True),
            settings.number("momentum", 0.99),
        )

    def keras_settings(self) -> Config:
        """See Kind."""
        return {
            "axis": -1,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializer("Zeros"),
            "gamma_initializer": initializer("Ones"),
            "moving_mean_initializer": initializer("Zeros"),
            "moving_variance_initializer": initializer("Ones"),
            "beta_regularizer": None,
            "gamma_regularizer": None,
            "beta_constraint": None,
            "gamma_constraint": None,
        }

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind. A plain tuple drops FlatMaps: its weights are in Keras's order of units, so a
        Flatten before it must keep that order."""
        check_row_or_maps(inputs[0])
        return tuple(inputs[0])

    @property
    def maskable(self) -> bool:  # type: ignore[override]
        """See Kind. Only with gamma: statistics alone cannot make a channel zero."""
        return self.scale

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """See Kind."""
        channels = inputs[0][0]
        return (
            *gamma_and_beta(channels, self.scale, self.center),
            vector("mean", "moving_mean", channels, trained=False),
            vector("variance", "moving_variance", channels, start="ones", trained=False),
        )

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Standardised(inputs[0][0], self.epsilon, self.scale, self.center)

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind. epsilon is added to the variance, as ONNX attributes are only float32."""
        mean = array_of(module, "mean")
        weight = array_of(module, "weight") if self.scale else np.ones_like(mean)
        bias = array_of(module, "bias") if self.center else np.zeros_like(mean)
        arrays = {"weight": weight, "bias": bias, "mean": mean}
        arrays |= {"variance": array_of(module, "variance") + self.epsilon}
        constants = [nodes.constant(f"{name}.{part}", array) for part, array in arrays.items()]
        return nodes.node("BatchNormalization", [*sources, *constants], name, epsilon=0.0)

    def silenced(self, weights: Tensors, channels: Sequence[int]) -> Tensors | None:
        """See Kind. Sets gamma and beta to zero."""
        return zeroed(weights, ("weight", "bias"), channels) if self.scale else None

    def silent(self, weights: Tensors) -> Tensor | None:
        """See Kind."""
        if not self.scale:
            return None
        zero = weights["weight"] == 0
        return zero & (weights["bias"] == 0) if self.center else zero

    def kernels(self, weights: Tensors) -> Tensor:
        """See Kind: `gamma / √(variance + epsilon)` of each channel."""
        scale = (weights["variance"] + self.epsilon).rsqrt()
        scale = scale * weights["weight"] if self.scale else scale
        return scale[:, None, None]

    def multiplied(
        self, weights: Tensors, kernels: Tensor, biases: Tensor | None
    ) -> Tensors | None:
        """See Kind. Multiplies gamma and beta."""
        return times(weights, "weight", kernels, biases) if self.scale else None

    def narrowed(
        self, weights: Tensors, kept: Sequence[Tensor], own: Tensor
    ) -> tuple[BatchNormalization, Tensors]:
        """See Kind."""
        return self, {name: tensor[own] for name, tensor in weights.items()}
