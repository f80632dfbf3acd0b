"""The interface by which the library reports progress; it does not know how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable


class Track(Protocol):
    """Receives the progress of a piece of work."""

    def __call__(self, phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        """Begin a phase of `total` units; `unit` is their name in the plural. Returns a function
        that is called with the number of units completed since its last call.

        A phase that begins before another one has ended is nested in that one, unless they belong
        to pieces of work that run at the same time, see `branch`.
        """
        ...


@runtime_checkable
class Branching(Protocol):
    """A Track that tells pieces of work apart that run at the same time."""

    def branch(self) -> AbstractContextManager[Track]:
        """A Track for one of them, which is nested in the phases begun so far. Its own phases are
        nested in each other only, and have ended when the context ends."""
        ...


@contextmanager
def branch(track: Track) -> Iterator[Track]:
    """The Track of one of several pieces of work that run at the same time: a branch of `track` or,
    if it has none, `track` itself."""
    if isinstance(track, Branching):
        with track.branch() as own_track:
            yield own_track
    else:
        yield track


def titled(track: Track, title: str) -> Track:
    """A Track whose phases begin with a title."""

    def within(phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        return track(f"{title}: {phase}", total, unit)

    return within


def untracked(phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
    """A Track that ignores progress."""
    return lambda done: None
