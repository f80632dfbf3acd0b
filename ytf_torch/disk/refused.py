"""How a confined reader says no."""

from __future__ import annotations


class RefusedError(Exception):
    """Something that is not read: the place inside the file ("" for all of it), and why."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(place, problem)
        self.place, self.problem = place, problem


def check_at_most(place: str, limit: int, found: int, what: str) -> None:
    """Raises RefusedError where `found` is over the limit. what: the unit, in words."""
    if found > limit:
        raise RefusedError(place, f"expected at most {limit:,} {what}, found {found:,}")
