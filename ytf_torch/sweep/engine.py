"""The interface between a sweep and the engine that computes its predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from ytf_torch.network.module import Network


class SweepEngine(Protocol):
    """Computes a sweep's predictions for images in padded batches of BATCH_SIZE.

    group: the preferred number of images per call of `predictions`.
    """

    group: int

    def clone(self) -> SweepEngine:
        """An engine that another thread may use at the same time; itself, if it is thread-safe."""
        ...

    def observe(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Run one batch without a mask. pixels: (batch, channels, H, W), 0–255.

        Returns the output at the rank point, (batch, channels', H', W'), and the prepared images:
        the activations that no step of the sweep changes, (batch, …).
        """
        ...

    def predictions(self, prepared: Tensor, order: Sequence[int]) -> Tensor:
        """The predicted classes (len(order) + 1, batch) after 0, 1, 2, … masked channels.

        prepared: one or more batches from `observe`. order: channel indices in pruning order.
        """
        ...


MakeEngine = Callable[[Network, str, str], SweepEngine]
