"""Dense: a fully connected layer that includes its activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from ytf_torch.layers.activations import Activation, read_activation
from ytf_torch.layers.kind import FlatMaps, Tensors
from ytf_torch.layers.onnx_nodes import OnnxNodes, array_of
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.summing import Summing
from ytf_torch.layers.training import FOR_TRAINING
from ytf_torch.layers.weight import Shape, Weight, vector


class Linear(nn.Linear):
    """A fully connected layer that ends in its activation."""

    def __init__(self, units_in: int, units: int, activation: Activation, *, bias: bool) -> None:
        super().__init__(units_in, units, bias)
        self.activation = activation

    def before_activation(self, input: Tensor) -> Tensor:
        """(batch, units_in) → pre-activations (batch, units)."""
        return nn.Linear.forward(self, input)

    def forward(self, input: Tensor) -> Tensor:
        """(batch, units_in) → (batch, units)."""
        return self.activation.overwrite(self.before_activation(input))


@dataclass(frozen=True)
class Dense(Summing):
    """Fully connected layer. After a Flatten, the columns of its kernel are in PyTorch's order
    (FlatMaps)."""

    class_names = ("Dense",)
    order_free = True
    units: int
    use_bias: bool
    function: Activation

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        units = settings.integer("units")
        return cls(units, settings.boolean("use_bias", True), read_activation(settings))

    def keras_settings(self) -> Config:
        """See Kind."""
        return {
            "units": self.units,
            **FOR_TRAINING,
            "activation": self.function.keras_name,
            "use_bias": self.use_bias,
        }

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        if len(inputs[0]) != 1:
            raise ValueError("reads one row of units; put a Flatten or a global pooling before it")
        return (self.units,)

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        """See Kind."""
        (input_shape,) = inputs
        shape, keras_shape = (self.units, input_shape[0]), (input_shape[0], self.units)
        view: Shape = keras_shape
        axes: Shape = (1, 0)
        if isinstance(input_shape, FlatMaps):
            channels, height, width = input_shape.maps
            view, axes = (height, width, channels, self.units), (3, 2, 0, 1)
        kernel = Weight("weight", "kernel", shape, keras_shape, axes, view, start="glorot")
        return (kernel, vector("bias", "bias", self.units)) if self.use_bias else (kernel,)

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Linear(inputs[0][0], self.units, self.function, bias=self.use_bias)

    def multiply_adds(self, *inputs: Shape) -> int:
        """See Kind."""
        return inputs[0][0] * self.units

    def onnx_sums(
        self,
        nodes: OnnxNodes,
        module: nn.Module,
        sources: list[str],
        name: str,
        sums: str,
        *inputs: Shape,
    ) -> None:
        """See Kind."""
        constants = [nodes.constant(f"{name}.weight", array_of(module, "weight"))]
        if self.use_bias:
            constants.append(nodes.constant(f"{name}.bias", array_of(module, "bias")))
        nodes.node("Gemm", [*sources, *constants], sums, transB=1)

    def kernels(self, weights: Tensors) -> Tensor:
        """See Kind."""
        return weights["weight"][:, :, None]

    def for_smaller_input(self, weights: Tensors, factor: float) -> Tensors:
        """See Kind."""
        return weights | {"weight": weights["weight"] * factor}

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """See Kind. Removing inputs removes none of its own units."""
        return torch.ones(self.units, dtype=torch.bool)

    def narrowed(
        self, weights: Tensors, kept: Sequence[Tensor], own: Tensor
    ) -> tuple[Dense, Tensors]:
        """See Kind."""
        return self, weights | {"weight": weights["weight"][:, kept[0]]}
