"""What a sweep asks of whatever computes its predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from ytf_torch.network.module import Network


class SweepEngine(Protocol):
    """Computes what a sweep needs to know of faces, given in whole batches of BATCH_SIZE.

    group: how many images `predictions` likes to get at once.
    """

    group: int

    def beside(self) -> SweepEngine:
        """An engine that may compute in another thread while this one does."""
        ...

    def observe(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 3, H, W) → the unmasked output (batch, channels, H', W') at the rank point, and
        the images prepared: what of them does not change during the sweep, (batch, …)."""
        ...

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """Prepared images → classes (len(order) + 1, batch) after 0, 1, 2, … masked channels."""
        ...


MakeEngine = Callable[[Network, str, str], SweepEngine]
