"""Subtract: the elementwise difference of two inputs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ytf_torch.layers.elementwise import Elementwise, combined_shape
from ytf_torch.layers.weight import Shape


@dataclass(frozen=True)
class Subtract(Elementwise):
    """The first input minus the second."""

    class_names = ("Subtract",)
    linear = True
    operator = "Sub"

    @staticmethod
    def combine(first: Tensor, second: Tensor) -> Tensor:
        """See Elementwise."""
        return first - second

    def output_shape(self, *inputs: Shape) -> Shape:
        """See Kind."""
        if len(inputs) != 2:
            raise ValueError(f"reads two inputs, found {len(inputs)}")
        return combined_shape(*inputs)
