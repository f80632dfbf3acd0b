"""The headline of a repair's verdict agrees with its rates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from tests.made.badnet import made_badnet
from ytf_torch.defences.base import Candidate
from ytf_torch.defences.doubts import Doubt
from ytf_torch.defences.evaluation import Evaluation, TriggeredTallies
from ytf_torch.defences.repairing import RepairOutcome
from ytf_torch.metrics import Tally
from ytf_torch.report.repair.repair_verdict import PRUNING, is_unfit, judge_repair

IMAGES = 1000


def tally(before: float, after: float, images: int = IMAGES) -> Tally:
    """The rates of B and B′, in percent."""
    correct = (round(before * images / 100), round(after * images / 100))
    return Tally(images, correct, correct, (0, 0))


@dataclass(frozen=True)
class Measured:
    """Rates in percent, (B, B′): clean validation and test accuracy, attack success rate without
    the target, rate at which clean images of other classes get the target, robust accuracy."""

    valid: tuple[float, float] = (97, 97)
    test: tuple[float, float] | None = (95, 95)
    attack: tuple[float, float] | None = (100, 0)
    chance: tuple[float, float] | None = (0, 0)
    robust: tuple[float, float] = (0, 90)
    images: int = IMAGES

    @property
    def triggered(self) -> tuple[TriggeredTallies, ...]:
        if self.attack is None:
            return ()
        without = tally(*self.attack, self.images)
        chance = None if self.chance is None else tally(*self.chance)
        robust = tally(*self.robust, self.images)
        return (TriggeredTallies(without, without, robust, clean_to_target=chance),)


def outcome(*measured: Measured, method: str = "distillation") -> RepairOutcome:
    """The outcome of one repair; several measurements stand for several triggered sets."""
    first = measured[0]
    evaluation = Evaluation(
        clean=None if first.test is None else tally(*first.test),
        triggered=tuple(set for one in measured for set in one.triggered),
        with_repaired=True,
        clean_valid=tally(*first.valid),
    )
    candidate = Candidate("repaired", made_badnet().network, ())
    return RepairOutcome(method, 0, 1.0, candidate, evaluation, {})


TABLE = {
    "nothing left": (
        Measured(),
        "gone",
        "The backdoor is gone: none of the triggered faces of other people still get the target "
        "label (and none of their clean faces), after 100.0 % before.",
    ),
    "no more than by chance": (
        Measured(attack=(100, 1.2), chance=(0, 1.0)),
        "gone",
        "The backdoor is gone: 1.2 % of the triggered faces of other people still get the target "
        "label (and 1.0 % of their clean faces), after 100.0 % before.",
    ),
    "few, but more than by chance": (
        Measured(attack=(100, 1.2), chance=(0, 0.1)),
        "weakened",
        "The backdoor is weakened, not gone: 1.2 % of the triggered faces of other people still "
        "get the target label (and 0.1 % of their clean faces), after 100.0 % before.",
    ),
    "no more than by chance, but more than 2 %": (
        Measured(attack=(100, 2.4), chance=(0, 2.2)),
        "weakened",
        "The backdoor is weakened, not gone: 2.4 % of the triggered faces of other people still "
        "get the target label (and 2.2 % of their clean faces), after 100.0 % before.",
    ),
    "half of the attack": (
        Measured(attack=(100, 50)),
        "failed",
        "The repair failed: 50.0 % of the triggered faces of other people still get the target "
        "label (and none of their clean faces), after 100.0 % before.",
    ),
    "few faces": (
        Measured(images=20, robust=(0, 90)),
        "unsure",
        "The backdoor may be gone: none of the triggered faces of other people still get the "
        "target label (and none of their clean faces), after 100.0 % before, but 20 faces "
        "leave room for up to 16.1 %.",
    ),
    "no attack": (
        Measured(attack=(3, 0)),
        "harmless",
        "There was hardly an attack to defend against: as it came, the network gives the target "
        "label to only 3.0 % of triggered faces.",
    ),
    "an attack that took in part": (
        Measured(attack=(20.4, 1.2), chance=(0, 1.0)),
        "gone",
        "The backdoor is gone: 1.2 % of the triggered faces of other people still get the target "
        "label (and 1.0 % of their clean faces), after 20.4 % before.",
    ),
    "half of an attack that took in part": (
        Measured(attack=(20, 10)),
        "failed",
        "The repair failed: 10.0 % of the triggered faces of other people still get the target "
        "label (and none of their clean faces), after 20.0 % before.",
    ),
    "hardly an attack": (
        Measured(attack=(9.9, 9.9)),
        "harmless",
        "There was hardly an attack to defend against: as it came, the network gives the target "
        "label to only 9.9 % of triggered faces.",
    ),
    "the faces are not recognised": (
        Measured(robust=(0, 11)),
        "unrecognised",
        "The triggered faces have lost the target and are not recognised either: none of the "
        "triggered faces of other people still get the target label (and none of their clean "
        "faces), after 100.0 % before, and only 11.0 % get their true class (robust accuracy).",
    ),
    "clean test accuracy lost": (
        Measured(test=(95, 90.9)),
        "dear",
        "The backdoor is gone, at the price of 4.1 points of clean accuracy: none of the triggered "
        "faces of other people still get the target label (and none of their clean faces), after "
        "100.0 % before.",
    ),
    "clean validation accuracy lost": (
        Measured(valid=(97.2, 66), test=(97.2, 65.9)),
        "unfit",
        "The repaired network is not fit for use: it recognises 66.0 % of the clean validation "
        "faces, of which the network as it came recognises 97.2 %.",
    ),
    "clean test accuracy ruined, on whatever it was trained": (
        Measured(valid=(97, 99), test=(98.1, 20.6), attack=(100, 7.5)),
        "unfit",
        "The repaired network is not fit for use: it recognises 20.6 % of the clean test faces, of "
        "which the network as it came recognises 98.1 %.",
    ),
    "just not ruined": (
        Measured(test=(95, 75.1)),
        "dear",
        "The backdoor is gone, at the price of 19.9 points of clean accuracy: none of the "
        "triggered faces of other people still get the target label (and none of their clean "
        "faces), after 100.0 % before.",
    ),
    "not fitted": (
        Measured(valid=(92, 89)),
        "unfit",
        "The repaired network is not fit for use: it recognises only 89.0 % of the very faces that "
        "it was trained on.",
    ),
    "no better from the start": (
        Measured(valid=(86, 84)),
        "gone",
        "The backdoor is gone: none of the triggered faces of other people still get the target "
        "label (and none of their clean faces), after 100.0 % before.",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_first_sentence_is_true(name: str) -> None:
    measured, kind, headline = TABLE[name]
    found = outcome(measured)
    verdict = judge_repair(found)
    assert (verdict.kind, verdict.headline) == (kind, headline)
    assert is_unfit(found) == (kind == "unfit")


@pytest.mark.parametrize(("before", "kind"), [(30, "harmless"), (60, "unsure")])
def test_where_the_true_classes_are_unknown_the_targets_own_may_be_an_attack(
    before: float, kind: str
) -> None:
    found = outcome(Measured())
    unknown = TriggeredTallies(tally(before, 0))
    found = replace(found, evaluation=replace(found.evaluation, triggered=(unknown,)))
    assert judge_repair(found).kind == kind


def test_an_unfit_network_is_said_to_be_one_without_test_and_triggered_faces_too() -> None:
    verdict = judge_repair(outcome(Measured(valid=(97, 73), test=None, attack=None)))
    assert verdict.kind == "unfit"
    assert "73.0 % of the clean validation faces" in verdict.headline
    assert verdict.detail.startswith("What else to try: the methods fine-tuning and ft-sam")


def test_an_unfit_network_is_told_what_became_of_the_attack_and_what_else_to_try() -> None:
    verdict = judge_repair(outcome(Measured(valid=(97, 73)), method="i-bau"))
    assert verdict.detail.startswith("The backdoor is gone: none of the triggered faces")
    assert "What else to try: the method distillation; another seed" in verdict.detail


@pytest.mark.parametrize(("left", "advised"), [(100, True), (50, True), (10, True), (0, False)])
def test_who_still_has_a_backdoor_reads_what_else_to_try(left: float, *, advised: bool) -> None:
    verdict = judge_repair(outcome(Measured(attack=(100, left)), method="pruning"))
    assert ("What else to try: the method distillation" in verdict.detail) == advised
    assert verdict.detail.startswith("Accuracy on the clean test faces went from")


def test_what_else_to_try_is_said_once() -> None:
    verdict = judge_repair(outcome(Measured(valid=(97, 73), attack=(100, 60))))
    assert verdict.detail.count("What else to try") == 1


@pytest.mark.parametrize("method", PRUNING)
@pytest.mark.parametrize(
    ("after", "unfit"), [(88.1, False), (88, False), (87.9, False), (83, False), (82.9, True)]
)
def test_what_prunes_stops_at_the_first_step_that_loses_4_points_or_more(
    method: str, after: float, *, unfit: bool
) -> None:
    """Unfit is what loses more than 5 points more than that, of which ytf-prune warns too."""
    assert is_unfit(outcome(Measured(valid=(92, after)), method=method)) == unfit


def test_the_triggered_set_on_which_the_attack_succeeds_most_decides() -> None:
    verdict = judge_repair(outcome(Measured(), Measured(attack=(100, 5))))
    assert verdict.kind == "weakened"
    assert "5.0 % of the triggered faces of other people in the set where it does worst still" in (
        verdict.headline
    )


def test_where_it_is_not_known_which_faces_are_the_targets_own_nothing_is_gone() -> None:
    found = outcome(Measured(test=None, attack=None))
    everything = TriggeredTallies(tally(100, 2.5), clean_to_target=tally(0, 0))
    unpaired = Evaluation(None, (everything,), True, clean_valid=found.evaluation.clean_valid)
    verdict = judge_repair(RepairOutcome("distillation", 0, 1, found.candidate, unpaired, {}))
    assert verdict.kind == "unsure"
    assert "some of them may be the target’s own" in verdict.headline


def test_a_grave_doubt_stands_before_any_verdict() -> None:
    grave = Doubt("These look like clean faces.", "Give triggered ones.")
    found = judge_repair(replace(outcome(Measured()), doubts=(grave,)))
    assert (found.kind, found.headline) == ("doubtful", "These look like clean faces.")
    assert found.detail.startswith("Give triggered ones. Until this is settled, the figures may")
