"""What came of a defence, as counts."""

from __future__ import annotations

from dataclasses import dataclass

from ytf_torch.metrics import Tally
from ytf_torch.sweep.passes import Sweep


@dataclass(frozen=True)
class Defence:
    """The outcome of the pruning defence.

    drops: requested drop in points, as written → number of channels pruned at the first step
    that reaches it, or None. poisoned_test: all poisoned sets together; each alone is in
    poisoned_tests.
    """

    sweep: Sweep
    clean_valid: Tally
    clean_test: Tally | None
    poisoned_tests: tuple[Tally, ...]
    drops: dict[str, int | None]

    @property
    def poisoned_test(self) -> Tally | None:
        """All poisoned sets together."""
        if not self.poisoned_tests:
            return None
        first, *others = self.poisoned_tests
        return sum(others, start=first)

    def channels_of(self, drop: str) -> tuple[int, ...]:
        """The channels pruned for a drop, in the order they were pruned; empty if not reached."""
        return self.sweep.order[: self.drops[drop] or 0]
