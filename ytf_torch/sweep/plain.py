"""The reference sweep engine: a hook masks the channels, the whole network runs at every step."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ytf_torch.network.masking import ChannelMask
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import classes_of


class PlainEngine:
    """Runs the whole network at every step; the oracle that the fast engines are tested against."""

    group = 1

    def __init__(self, model: Network, layer: str, rank_at: str) -> None:
        self.model, self.name, self.rank_at = model, layer, rank_at
        self.layer = model.layer(layer)
        self.rank_point = model.layer(rank_at)

    def clone(self) -> PlainEngine:
        """See SweepEngine. Copies the network: its hook would mask another thread's passes too."""
        return PlainEngine(copy.deepcopy(self.model), self.name, self.rank_at)

    def observe(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """See SweepEngine."""
        outputs: list[Tensor] = []

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            outputs.append(output)

        handle = self.rank_point.register_forward_hook(keep)
        try:
            self.model(pixels)
        finally:
            handle.remove()
        return outputs[0], pixels

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """See SweepEngine."""
        rows = []
        for pruned in range(len(order) + 1):
            with ChannelMask(self.layer, order[:pruned]):
                rows.append(classes_of(self.model(prepared)))
        return torch.stack(rows)
