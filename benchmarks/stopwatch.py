"""Interleaved timings, so that noise of the machine affects all contestants alike."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Times:
    """Seconds of each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.seconds)

    def times(self, factor: float) -> Times:
        """All times multiplied by a factor."""
        return Times(tuple(factor * seconds for seconds in self.seconds))

    def ratio_to(self, other: Times) -> float:
        """Time relative to `other`: the median over the rounds of the ratio within a round."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        return statistics.median(mine / others for mine, others in pairs)


Contestant = Callable[[], float]


def seconds_of(work: Callable[[], object], factor: float = 1.0) -> Contestant:
    """A contestant that returns the wall time of `work` times `factor`, to extrapolate from a part
    of the work."""

    def timed() -> float:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) * factor

    return timed


def warm_up(contestants: Mapping[str, Contestant]) -> None:
    """Run every contestant once without recording its time."""
    for contestant in contestants.values():
        contestant()


def take_turns(contestants: Mapping[str, Contestant], rounds: int) -> dict[str, Times]:
    """Run all contestants one after the other, in every round. Returns their times by name."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            found[name].append(contestant())
    return {name: Times(tuple(seconds)) for name, seconds in found.items()}


@dataclass
class PhaseTimes:
    """A progress callback that records the seconds of each phase."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __call__(self, phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        start = time.perf_counter()

        def done(more: int) -> None:
            self.seconds[phase] = time.perf_counter() - start

        return done
