"""How the library tells how far it is, and nobody else has to know who listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Track(Protocol):
    """Shows how far a piece of work is."""

    def __call__(self, phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        """Begin a phase of so many units, named in the plural; what is returned is told how many
        more are done. A phase that begins before another has ended is a part of that one."""
        ...


def untracked(phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
    """A Track that shows nothing."""
    return lambda done: None
