"""The interface to a sweep's journal: results of finished pieces, which a resumed run reuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from ytf_torch.metrics import Tally
from ytf_torch.sweep.activation import Activation


@dataclass(frozen=True)
class Swept:
    """A sweep's counts on one piece of an image set, and the activation at the rank point."""

    tally: Tally
    activation: Activation


Figures = TypeVar("Figures", Activation, Swept)


class Journal(Protocol):
    """Stores results of finished pieces by name, durably, and tensors as a cache that may be lost
    at any time."""

    def find(self, name: str, kind: type[Figures]) -> Figures | None:
        """The result stored under a name, None where there is none."""
        ...

    def keep(self, name: str, figures: Activation | Swept) -> None:
        """Store a result under a name."""
        ...

    def find_tensor(self, name: str) -> Tensor | None:
        """The tensor stored under a name, on the CPU; None where it is missing or damaged."""
        ...

    def keep_tensor(self, name: str, tensor: Tensor) -> None:
        """Store a tensor under a name, if there is enough free space."""
        ...


class Forgetful:
    """A Journal that stores nothing."""

    def find(self, name: str, kind: type[Figures]) -> Figures | None:
        """See Journal."""
        return None

    def keep(self, name: str, figures: Activation | Swept) -> None:
        """See Journal."""

    def find_tensor(self, name: str) -> Tensor | None:
        """See Journal."""
        return None

    def keep_tensor(self, name: str, tensor: Tensor) -> None:
        """See Journal."""
