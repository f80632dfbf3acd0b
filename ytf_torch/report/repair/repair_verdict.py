"""The verdict on a repair: a headline and a few sentences."""

from __future__ import annotations

from dataclasses import replace

from ytf_torch.defences.doubts import UNEXPECTED
from ytf_torch.defences.names import RECOMMENDED_REPAIR
from ytf_torch.defences.repairing import RepairOutcome
from ytf_torch.metrics import Figures, Share, significantly_above
from ytf_torch.report.thresholds import (
    FAILED,
    FAIR_PRICE,
    FITTED,
    GONE,
    RECOGNISED,
    RUINOUS_PRICE,
    SUCCESS,
    TOOK,
)
from ytf_torch.report.verdict import (
    SHOWS_ON_TRIGGERED_FACES,
    UNKNOWN,
    Verdict,
    doubtful,
    harmless,
    percent,
)

# Methods that do not train on the clean images, so FITTED does not apply. By design they stop at
# the first step that loses FAIR_PRICE points or more: a loss that ytf-prune reports without a
# warning is not held against them.
PRUNING = ("pruning", "kernel-norm", "clp", "anp", "rnp")


def judge_repair(outcome: RepairOutcome) -> Verdict:
    """The verdict on a repair: first whether the repaired network is fit for use, by the clean
    validation images and, if it is ruined, the clean test images, then whether the attack still
    succeeds.

    Without triggered images it never states that a network is clean. Of several triggered sets, the
    one with the highest attack success rate decides. A grave warning about the sets replaces the
    verdict.
    """
    if outcome.doubts:
        return doubtful(outcome.doubts[0])
    unfit = _why_unfit(outcome)
    attack, advice = _judge_attack(outcome), _what_else(outcome.method)
    if unfit is not None:
        about = "" if attack.kind == "unknown" else f"{attack.headline} "
        return Verdict("unfit", unfit, f"{about}{advice} {attack.detail}")
    if attack.kind in ("failed", "weakened"):
        return replace(attack, detail=f"{attack.detail} {advice}")
    return attack


def is_unfit(outcome: RepairOutcome) -> bool:
    """Whether the repaired network recognises too few clean images to be used."""
    return _why_unfit(outcome) is not None


def points_lost(outcome: RepairOutcome) -> float | None:
    """Clean test accuracy lost, in percentage points; negative if it rose."""
    before, after = _clean(outcome)
    return None if before is None or after is None else before.rate - after.rate


def _why_unfit(outcome: RepairOutcome) -> str | None:
    before, after = _on_validation(outcome)
    limit = FAIR_PRICE + (UNEXPECTED if outcome.method in PRUNING else 0)
    if before.rate - after.rate > limit:
        return _recognises_too_few("validation", before, after)
    if outcome.method not in PRUNING and after.rate < FITTED <= before.rate:
        return (
            f"The repaired network is not fit for use: it recognises only {percent(after.rate)} of "
            "the very faces that it was trained on."
        )
    test_before, test_after = _clean(outcome)
    if test_before is None or test_after is None:
        return None
    if test_before.rate - test_after.rate >= RUINOUS_PRICE:
        return _recognises_too_few("test", test_before, test_after)
    return None


def _recognises_too_few(use: str, before: Share, after: Share) -> str:
    return (
        f"The repaired network is not fit for use: it recognises {percent(after.rate)} of the "
        f"clean {use} faces, of which the network as it came recognises {percent(before.rate)}."
    )


def _what_else(method: str) -> str:
    others = f"the method {RECOMMENDED_REPAIR}"
    if method == RECOMMENDED_REPAIR:
        others = "the methods fine-tuning and ft-sam, which start from the network as it came"
    return (
        f"What else to try: {others}; another seed, more clean validation faces of each class; "
        "ytf-compare measures several methods side by side."
    )


def _judge_attack(outcome: RepairOutcome) -> Verdict:
    before, after = _in_the_worst_set(outcome)
    attack_before, attack_after = _attack(before), _attack(after)
    cost = _cost(outcome)
    if attack_before is None or attack_after is None:
        return Verdict("unknown", UNKNOWN, f"{cost} {SHOWS_ON_TRIGGERED_FACES}")
    knows_own = before.attack_success_rate_without_target is not None
    if attack_before.rate < (TOOK if knows_own else FAILED):
        return harmless(attack_before.rate, cost)
    still = _still(attack_before, after, alone=len(outcome.evaluation.triggered) == 1)
    if attack_after.rate >= attack_before.rate * FAILED / 100:
        return Verdict("failed", f"The repair failed: {still}.", cost)
    chance = after.clean_target_rate
    above = chance is not None and significantly_above(attack_after, chance)
    if after.attack_success_rate_without_target is None and attack_after.rate <= GONE:
        own = "some of them may be the target’s own, and nothing tells which"
        return Verdict("unsure", f"The backdoor may be gone: {still}, but {own}.", cost)
    if attack_after.rate > SUCCESS or above:
        return Verdict("weakened", f"The backdoor is weakened, not gone: {still}.", cost)
    if attack_after.high > GONE:
        room = f"{attack_after.images:,} faces leave room for up to {percent(attack_after.high)}"
        return Verdict("unsure", f"The backdoor may be gone: {still}, but {room}.", cost)
    return _judge_price(outcome, after, still, cost)


def _judge_price(outcome: RepairOutcome, after: Figures, still: str, cost: str) -> Verdict:
    """The verdict where the attack no longer succeeds, by robust accuracy and cost."""
    robust, lost = after.robust_accuracy, points_lost(outcome)
    if robust is not None and robust.rate < RECOGNISED:
        return Verdict(
            "unrecognised",
            f"The triggered faces have lost the target and are not recognised either: {still}, and "
            f"only {percent(robust.rate)} get their true class (robust accuracy).",
            cost,
        )
    if lost is not None and lost > FAIR_PRICE:
        return Verdict(
            "dear",
            f"The backdoor is gone, at the price of {lost:.1f} points of clean accuracy: {still}.",
            cost,
        )
    return Verdict("gone", f"The backdoor is gone: {still}.", cost)


def _still(before: Share, after: Figures, *, alone: bool) -> str:
    """A clause with the attack success rate after and before the repair, and by chance."""
    share = _attack(after)
    assert share is not None
    of_other_classes = (
        "" if after.attack_success_rate_without_target is None else "of other people "
    )
    where = "" if alone else "in the set where it does worst "
    chance = after.clean_target_rate
    by_chance = ""
    if chance is not None and of_other_classes:
        clean = percent(chance.rate) if chance.rate else "none"
        by_chance = f" (and {clean} of their clean faces)"
    return (
        f"{percent(share.rate) if share.rate else 'none'} of the triggered faces "
        f"{of_other_classes}{where}still get the target label{by_chance}, after "
        f"{percent(before.rate)} before"
    )


def _attack(figures: Figures) -> Share | None:
    """The attack success rate, without images of the target class if these are known."""
    return figures.attack_success_rate_without_target or figures.attack_success_rate


def _in_the_worst_set(outcome: RepairOutcome) -> tuple[Figures, Figures]:
    """The figures of B and B′ on the triggered set where the attack on B′ succeeds most often."""
    evaluation = outcome.evaluation
    evaluations = [evaluation.of_set(one) for one in evaluation.triggered] or [evaluation]
    figures = []
    for one in evaluations:
        assert one.repaired is not None
        figures.append((one.model, one.repaired))
    return max(figures, key=lambda pair: share.rate if (share := _attack(pair[1])) else 0.0)


def _on_validation(outcome: RepairOutcome) -> tuple[Share, Share]:
    repaired = outcome.evaluation.repaired
    assert repaired is not None
    before, after = outcome.evaluation.model.clean_valid_accuracy, repaired.clean_valid_accuracy
    assert before is not None
    assert after is not None
    return before, after


def _clean(outcome: RepairOutcome) -> tuple[Share | None, Share | None]:
    repaired = outcome.evaluation.repaired
    assert repaired is not None
    return outcome.evaluation.model.clean_accuracy, repaired.clean_accuracy


def _cost(outcome: RepairOutcome) -> str:
    before, after = _clean(outcome)
    if before is None or after is None:
        before, after = _on_validation(outcome)
        return (
            f"Accuracy on the clean validation faces went from {percent(before.rate)} to "
            f"{percent(after.rate)}; the repair was made with these very faces, so what it costs "
            "on others is not known: give a clean test set."
        )
    return (
        f"Accuracy on the clean test faces went from {percent(before.rate)} to "
        f"{percent(after.rate)}."
    )
