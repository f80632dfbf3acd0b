"""LeakyReLU: a ReLU with a slope below zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor
from torch.nn import functional as F

from ytf_torch.layers.activation import FunctionLayer
from ytf_torch.layers.activations import Activation, leaky_onnx
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape


@dataclass(frozen=True)
class LeakyReLU(FunctionLayer):
    """ReLU with a slope below zero. Keras 3 calls the slope `negative_slope` and still reads Keras
    2's `alpha`, which is written."""

    class_names = ("LeakyReLU",)
    slope: float

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        name = "negative_slope" if settings.get("negative_slope") is not None else "alpha"
        return cls(settings.number(name, 0.3))

    def keras_settings(self) -> Config:
        """See Kind."""
        return {"alpha": self.slope}

    @property
    def activation(self) -> Activation:
        """See Kind."""
        rising, strictly = self.slope >= 0, self.slope > 0
        onnx = leaky_onnx(self.slope)
        steepest = max(1.0, abs(self.slope))
        return Activation(
            "leaky", self._apply, onnx, rising, keeps_argmax=strictly, steepest=steepest
        )

    def _apply(self, tensor: Tensor) -> Tensor:
        return F.leaky_relu(tensor, self.slope)
