"""The exception by which a sandboxed reader refuses a file or a part of it."""

from __future__ import annotations


class RefusedError(Exception):
    """A file, or a part of it, is not read. place: where inside the file, "" for all of it.
    problem: why."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(place, problem)
        self.place, self.problem = place, problem


def check_at_most(place: str, limit: int, found: int, what: str) -> None:
    """Raises RefusedError if `found` exceeds the limit. what: the unit, for the message."""
    if found > limit:
        raise RefusedError(place, f"expected at most {limit:,} {what}, found {found:,}")
