"""The interface by which the library reports progress; it does not know how it is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Track(Protocol):
    """Receives the progress of a piece of work."""

    def __call__(self, phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        """Begin a phase of `total` units; `unit` is their name in the plural. Returns a function
        that is called with the number of units completed since its last call.

        A phase that begins before another one has ended is nested in that one.
        """
        ...


def untracked(phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
    """A Track that ignores progress."""
    return lambda done: None
