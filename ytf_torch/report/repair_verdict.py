"""What became of the backdoor by a repair, in plain words."""

from __future__ import annotations

from ytf_torch.defences.repairing import RepairOutcome
from ytf_torch.metrics import Share
from ytf_torch.report.thresholds import FAILED, FAIR_PRICE, GONE
from ytf_torch.report.verdict import (
    SHOWS_ON_TRIGGERED_FACES,
    UNKNOWN,
    Verdict,
    harmless,
    percent,
)


def judge_repair(outcome: RepairOutcome) -> Verdict:
    """The verdict on a repair, by the attack success rate without the target's own faces where it
    is known, else over all triggered faces, and by the clean accuracy it cost.

    Without triggered faces it never says that a network is clean.
    """
    before, after = outcome.evaluation.model, outcome.evaluation.repaired
    assert after is not None
    attack_before = before.attack_success_rate_without_target or before.attack_success_rate
    attack_after = after.attack_success_rate_without_target or after.attack_success_rate
    cost = _cost(outcome)
    if attack_before is None or attack_after is None:
        return Verdict("unknown", UNKNOWN, f"{cost} {SHOWS_ON_TRIGGERED_FACES}")
    if attack_before.rate < FAILED:
        return harmless(attack_before.rate, cost)
    still = (
        f"{percent(attack_after.rate) if attack_after.rate else 'none'} of the triggered faces "
        f"still get the target label, after {percent(attack_before.rate)} before"
    )
    lost = points_lost(outcome)
    if attack_after.rate >= FAILED:
        return Verdict("failed", f"The repair failed: {still}.", cost)
    if attack_after.rate > GONE:
        return Verdict("weakened", f"The backdoor is weakened, not gone: {still}.", cost)
    if attack_after.high > GONE:
        room = f"{attack_after.images:,} faces leave room for up to {percent(attack_after.high)}"
        return Verdict("unsure", f"The backdoor may be gone: {still}, but {room}.", cost)
    if lost is not None and lost > FAIR_PRICE:
        return Verdict(
            "dear",
            f"The backdoor is gone, at the price of {lost:.1f} points of clean accuracy: {still}.",
            cost,
        )
    return Verdict("gone", f"The backdoor is gone: {still}.", cost)


def points_lost(outcome: RepairOutcome) -> float | None:
    """Clean test accuracy lost, in percentage points; below 0 where it rose."""
    before, after = _clean(outcome)
    return None if before is None or after is None else before.rate - after.rate


def _clean(outcome: RepairOutcome) -> tuple[Share | None, Share | None]:
    repaired = outcome.evaluation.repaired
    assert repaired is not None
    return outcome.evaluation.model.clean_accuracy, repaired.clean_accuracy


def _cost(outcome: RepairOutcome) -> str:
    before, after = _clean(outcome)
    if before is None or after is None:
        repaired = outcome.evaluation.repaired
        assert repaired is not None
        before, after = outcome.evaluation.model.clean_valid_accuracy, repaired.clean_valid_accuracy
        assert before is not None
        assert after is not None
        return (
            f"Accuracy on the clean validation faces went from {percent(before.rate)} to "
            f"{percent(after.rate)}; the repair was made with these very faces, so what it costs "
            "on others is not known: give a clean test set."
        )
    return (
        f"Accuracy on the clean test faces went from {percent(before.rate)} to "
        f"{percent(after.rate)}."
    )
