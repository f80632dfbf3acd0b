"""ELU: linear above zero, exponential below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor
from torch.nn import functional as F

from ytf_torch.layers.activation import FunctionLayer
from ytf_torch.layers.activations import Activation, elu_onnx
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape


@dataclass(frozen=True)
class ELU(FunctionLayer):
    """`x` for x > 0, else `alpha · (exp(x) − 1)`."""

    class_names = ("ELU",)
    alpha: float

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        return cls(settings.number("alpha", 1.0))

    def keras_settings(self) -> Config:
        """See Kind."""
        return {"alpha": self.alpha}

    @property
    def activation(self) -> Activation:
        """See Kind."""
        steepest = max(1.0, abs(self.alpha))
        return Activation(
            "exponential_below",
            self._apply,
            elu_onnx(self.alpha),
            self.alpha >= 0,
            steepest=steepest,
        )

    def _apply(self, tensor: Tensor) -> Tensor:
        return F.elu(tensor, self.alpha)
