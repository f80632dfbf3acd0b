"""Softmax: over the channels of feature maps or the units of a vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ytf_torch.layers.activation import FunctionLayer
from ytf_torch.layers.activations import KNOWN, Activation
from ytf_torch.layers.axes import check_last_axis
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape


@dataclass(frozen=True)
class Softmax(FunctionLayer):
    """Softmax over Keras's last axis."""

    class_names = ("Softmax",)
    channelwise = False

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        check_last_axis(settings, inputs[0])
        return cls()

    def keras_settings(self) -> Config:
        """See Kind."""
        return {"axis": -1}

    @property
    def activation(self) -> Activation:
        """See Kind."""
        return KNOWN["softmax"]
