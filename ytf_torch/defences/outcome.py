"""What came of a defence, as counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ytf_torch.defences.evaluation import Evaluation, TriggeredTallies
from ytf_torch.metrics import Tally
from ytf_torch.network.subject import FACES, Subject
from ytf_torch.sweep.passes import Sweep


@dataclass(frozen=True)
class Outcome:
    """What came of one defence of a network, as counts: what reports, tables and records read.

    method: its name. baseline: the network B as it came. candidates: repaired networks by name, in
    the order asked for, each with B, GoodNet and detectors beside it; None where the method gives
    none, as where no step of a sweep costs a drop. seconds: what making them took, where measured.
    """

    method: str
    baseline: Evaluation
    candidates: Mapping[str, Evaluation | None]
    seconds: float | None = None


@dataclass(frozen=True)
class Defence:
    """What came of the pruning defence, at every step; `outcome` says it in every defence's terms.

    drops: requested drop in points, as written → number of channels pruned at the first step
    that reaches it, or None. poisoned_test: all poisoned sets together; each alone is in
    poisoned_tests. subject: what the images are called.

    >>> defence = ytf_torch.defend("bd_net.h5", "valid.h5", "test.h5", drops=[40]).outcome
    >>> defence.drops, defence.channels_of("40")
    ({'40': 3}, (4, 5, 1))
    >>> defence.clean_valid.at(defence.drops["40"]).correct
    58.33 % (38.83–75.53), 14 of 24
    """

    sweep: Sweep
    clean_valid: Tally
    clean_test: Tally | None
    poisoned_tests: tuple[Tally, ...]
    drops: dict[str, int | None]
    subject: Subject = FACES

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

    @property
    def outcome(self) -> Outcome:
        """B, and B′ and GoodNet at each drop."""
        candidates = {
            drop: None if step is None else self.at(step) for drop, step in self.drops.items()
        }
        return Outcome("pruning", self._evaluation(0), candidates)

    def at(self, step: int) -> Evaluation:
        """B, and B′ and GoodNet after `step` channels."""
        return self._evaluation(0, step)

    def _evaluation(self, *steps: int) -> Evaluation:
        return Evaluation(
            clean=self.clean_test and self.clean_test.select(*steps),
            triggered=tuple(TriggeredTallies(t.select(*steps)) for t in self.poisoned_tests),
            with_repaired=len(steps) > 1,
            clean_valid=self.clean_valid.select(*steps),
        )
