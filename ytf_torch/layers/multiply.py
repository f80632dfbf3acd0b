"""Multiply: the elementwise product of several inputs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ytf_torch.layers.elementwise import Elementwise


@dataclass(frozen=True)
class Multiply(Elementwise):
    """The elementwise product of its inputs."""

    class_names = ("Multiply",)
    operator = "Mul"

    @staticmethod
    def combine(first: Tensor, second: Tensor) -> Tensor:
        """See Elementwise."""
        return first * second
