"""Activation: a function of every value, as a layer of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from ytf_torch.layers.activations import LINEAR, Activation, read_activation
from ytf_torch.layers.kind import Kind
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape


class Applied(nn.Module):
    """Applies an activation."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation

    def before_activation(self, input: Tensor) -> Tensor:
        """What the activation reads."""
        return input

    def forward(self, input: Tensor) -> Tensor:
        """A tensor → one of the same shape."""
        return self.activation.apply(input)


@dataclass(frozen=True)
class ActivationLayer(Kind):
    """An activation by its name."""

    class_names = ("Activation",)
    order_free = True
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
        """See Kind: a softmax of maps compares their channels."""
        return self.function.name != "softmax"

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

    def without_activation(self) -> Kind:
        """See Kind."""
        return ActivationLayer(LINEAR)

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        return inputs[0]

    def module(self, *inputs: Shape) -> nn.Module:
        """See Kind."""
        return Applied(self.function)

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        """See Kind."""
        return self.function.onnx(nodes, sources[0], name)
