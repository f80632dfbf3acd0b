"""How the library tells how far it is, and nobody else has to know who listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Track(Protocol):
    """Shows how far a pass over faces is."""

    def __call__(self, phase: str, images: int) -> Callable[[int], None]:
        """Begin a phase of so many images; what is returned is told of each images done."""
        ...


def untracked(phase: str, images: int) -> Callable[[int], None]:
    """A Track that shows nothing."""
    return lambda done: None
