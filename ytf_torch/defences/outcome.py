"""The outcome of a defence, as counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ytf_torch.defences.evaluation import Evaluation, TriggeredTallies
from ytf_torch.metrics import Tally
from ytf_torch.network.subject import FACES, Subject
from ytf_torch.sweep.passes import Sweep


@dataclass(frozen=True)
class Outcome:
    """Counts for one defence of a network, from which reports, tables and records are made.

    method: its name. baseline: the original network B. candidates: for each repaired network, by
    name and in the requested order, an Evaluation that also covers B, GoodNet and the detectors;
    None where the method produced none, as for a drop that no step of a sweep reaches. seconds:
    time it took to make the candidates, if measured.
    """

    method: str
    baseline: Evaluation
    candidates: Mapping[str, Evaluation | None]
    seconds: float | None = None


@dataclass(frozen=True)
class Defence:
    """Counts for the pruning defence at every step; `outcome` gives them in the form that all
    defences share.

    drops: requested drop in percentage points, as written → number of channels pruned at the first
    step that reaches it, or None. poisoned_test: all poisoned sets together; poisoned_tests: each
    alone. subject: what reports call the images.

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
        """The sum over all poisoned sets; None without any."""
        if not self.poisoned_tests:
            return None
        first, *rest = self.poisoned_tests
        return sum(rest, start=first)

    def channels_of(self, drop: str) -> tuple[int, ...]:
        """The channels pruned for a drop, in pruning order; empty if it was not reached."""
        return self.sweep.order[: self.drops[drop] or 0]

    @property
    def outcome(self) -> Outcome:
        """B, and for each drop B′ and GoodNet."""
        candidates = {
            drop: None if step is None else self.at(step) for drop, step in self.drops.items()
        }
        return Outcome("pruning", self._evaluation(0), candidates)

    def at(self, step: int) -> Evaluation:
        """B, and B′ and GoodNet with the first `step` channels pruned."""
        return self._evaluation(0, step)

    def _evaluation(self, *steps: int) -> Evaluation:
        return Evaluation(
            clean=self.clean_test and self.clean_test.select(*steps),
            triggered=tuple(TriggeredTallies(t.select(*steps)) for t in self.poisoned_tests),
            with_repaired=len(steps) > 1,
            clean_valid=self.clean_valid.select(*steps),
        )
