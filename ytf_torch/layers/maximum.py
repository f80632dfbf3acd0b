"""Maximum: the elementwise maximum of several inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ytf_torch.layers.elementwise import Elementwise


@dataclass(frozen=True)
class Maximum(Elementwise):
    """The elementwise maximum of its inputs."""

    class_names = ("Maximum",)
    operator = "Max"

    @staticmethod
    def combine(first: Tensor, second: Tensor) -> Tensor:
        """See Elementwise."""
        return torch.maximum(first, second)
