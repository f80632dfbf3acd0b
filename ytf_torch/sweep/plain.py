"""The plain engine of the sweep: a hook masks the channels, the whole network runs every step."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ytf_torch.network.masking import ChannelMask
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import classes_of


class PlainEngine:
    """The oracle: a forward hook masks the channels, and the whole network runs at every step."""

    group = 1

    def __init__(self, model: Network, layer: str, rank_at: str) -> None:
        self.model, self.name, self.rank_at = model, layer, rank_at
        self.layer = model.layer(layer)
        self.rank_point = model.layer(rank_at)

    def beside(self) -> PlainEngine:
        """See SweepEngine. Of its own network: what a hook masks is masked for all who use it."""
        return PlainEngine(copy.deepcopy(self.model), self.name, self.rank_at)

    def observe(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """See SweepEngine."""
        seen: list[Tensor] = []

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append(output)

        handle = self.rank_point.register_forward_hook(keep)
        try:
            self.model(pixels)
        finally:
            handle.remove()
        return seen[0], pixels

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """See SweepEngine."""
        rows = []
        for pruned in range(len(order) + 1):
            with ChannelMask(self.layer, order[:pruned]):
                rows.append(classes_of(self.model(prepared)))
        return torch.stack(rows)
