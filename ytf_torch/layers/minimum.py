"""Minimum: the elementwise minimum of several inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ytf_torch.layers.elementwise import Elementwise


@dataclass(frozen=True)
class Minimum(Elementwise):
    """The elementwise minimum of its inputs."""

    class_names = ("Minimum",)
    operator = "Min"

    @staticmethod
    def combine(first: Tensor, second: Tensor) -> Tensor:
        """See Elementwise."""
        return torch.minimum(first, second)
