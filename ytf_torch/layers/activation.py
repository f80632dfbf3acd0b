"""Activation: an activation function as a layer of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from ytf_torch.layers.activations import LINEAR, Activation, read_activation
from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape
from ytf_torch.layers.windows import check_row_or_maps


class Applied(nn.Module):
    """Applies an activation."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation

    def before_activation(self, input: Tensor) -> Tensor:
        """The input of the activation."""
        return input

    def forward(self, input: Tensor) -> Tensor:
        """A tensor → one of the same shape."""
        return self.activation.apply(input)


@dataclass(frozen=True)
class FunctionLayer(Kind):
    """A kind without weights that applies its `activation` and does nothing else."""

    order_free = True
    channelwise = True

    @property
    def keeps_zero(self) -> bool:  # type: ignore[override]
        """See Kind."""
        return self.activation.silent_at_zero

    def without_activation(self) -> Kind:
        """See Kind."""
        return ActivationLayer(LINEAR)

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        if self.activation.across_channels:
            check_row_or_maps(inputs[0])
        return inputs[0]

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Applied(self.activation)

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        return self.activation.onnx(nodes, sources[0], name)

    def kept_outputs(self, *kept: Tensor, inputs: Sequence[Shape]) -> Tensor:
        """See Kind. A zero channel contributes to a softmax, so it cannot be removed."""
        if self.activation.across_channels:
            raise ValueError(f"channels cannot be removed before {self.activation.name}")
        return kept[0]


@dataclass(frozen=True)
class ActivationLayer(FunctionLayer):
    """An activation function, given by name."""

    class_names = ("Activation",)
    function: Activation

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        return cls(read_activation(settings))

    def keras_settings(self) -> Config:
        """See Kind."""
        return {"activation": self.function.keras_name}

    @property
    def channelwise(self) -> bool:  # type: ignore[override]
        """See Kind. A softmax depends on all channels."""
        return not self.activation.across_channels

    @property
    def linear(self) -> bool:  # type: ignore[override]
        """See Kind."""
        return self.function is LINEAR

    @property
    def activation(self) -> Activation:
        """See Kind."""
        return self.function

    @property
    def is_identity(self) -> bool:
        """See Kind."""
        return self.function is LINEAR
