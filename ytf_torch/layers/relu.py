"""ReLU: with an optional maximum, slope below zero, and threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ytf_torch.layers.activation import FunctionLayer
from ytf_torch.layers.activations import KNOWN, Activation
from ytf_torch.layers.onnx_formula import Formula
from ytf_torch.layers.onnx_nodes import OnnxNodes
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape


@dataclass(frozen=True)
class ReLU(FunctionLayer):
    """ReLU: `min(x, max_value)` for x > threshold, else `negative_slope · (x − threshold)`."""

    class_names = ("ReLU",)
    max_value: float | None
    negative_slope: float
    threshold: float

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        """See Kind."""
        highest = settings.get("max_value")
        return cls(
            None if highest is None else settings.number("max_value", least=0),
            settings.number("negative_slope", 0, least=0),
            settings.number("threshold", 0, least=0),
        )

    def keras_settings(self) -> Config:
        """See Kind."""
        return {
            "max_value": self.max_value,
            "negative_slope": self.negative_slope,
            "threshold": self.threshold,
        }

    @property
    def activation(self) -> Activation:
        """See Kind."""
        if self.negative_slope == self.threshold == 0 and self.max_value in (None, 6):
            return KNOWN["relu" if self.max_value is None else "relu6"]
        silent = self.threshold == 0 or self.negative_slope == 0
        steepest = max(1.0, self.negative_slope) if self.threshold == 0 else math.inf
        return Activation("rectifier", self._apply, self._write, True, silent, steepest=steepest)

    def workspace(self, *inputs: Shape) -> int:
        """See Kind: the values above and below the threshold, and the result."""
        return 0 if self.activation in KNOWN.values() else 3 * math.prod(inputs[0])

    def _apply(self, tensor: Tensor) -> Tensor:
        above = tensor if self.max_value is None else tensor.clamp(max=self.max_value)
        below = self.negative_slope * (tensor - self.threshold)
        return torch.where(tensor > self.threshold, above, below)

    def _write(self, nodes: OnnxNodes, source: str, name: str) -> str:
        formula = Formula(nodes, name)
        above = source if self.max_value is None else formula.add("Min", source, self.max_value)
        distance = formula.add("Sub", source, self.threshold)
        below = formula.add("Mul", distance, self.negative_slope)
        return formula.end("Where", formula.add("Greater", source, self.threshold), above, below)
