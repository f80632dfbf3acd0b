"""What a sweep has found out so far, kept piece by piece so that it need not be found out again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from ytf_torch.metrics import Tally
from ytf_torch.sweep.activation import Activation


@dataclass(frozen=True)
class Swept:
    """What a sweep counted on some images, and their activation at the rank point."""

    tally: Tally
    activation: Activation


Figures = TypeVar("Figures", Activation, Swept)


class Journal(Protocol):
    """Figures of finished pieces, by name; and tensors, which may be lost at any time."""

    def find(self, name: str, kind: type[Figures]) -> Figures | None:
        """The figures kept under a name, None where there are none."""
        ...

    def keep(self, name: str, figures: Activation | Swept) -> None:
        """Keep figures under a name."""
        ...

    def find_tensor(self, name: str) -> Tensor | None:
        """The tensor kept under a name, on the CPU; None where there is none."""
        ...

    def keep_tensor(self, name: str, tensor: Tensor) -> None:
        """Keep a tensor under a name, where there is room for it."""
        ...


class Forgetful:
    """A Journal that keeps nothing."""

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
