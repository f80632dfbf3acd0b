"""Whether repaired backdoors come back: the records, and a sentence about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ytf_torch.defences.relearning import (
    BACK,
    BATCH,
    LEARNING_RATE,
    NUMBERS,
    STEPS,
    Curve,
    Relearning,
)
from ytf_torch.report.verdict import percent

Record = Mapping[str, Any]

STEPS_KEY = f"steps_to_{BACK:g}"
NUMBER_SHOWN = NUMBERS[1]
"""The number of triggered images that the sentence and the plot are about, if there were enough."""
TWIN = "a network that never had the backdoor, trained and repaired alike,"


def relearning_record(found: Relearning) -> dict[str, Any]:
    """The record of one repair's relearning. Rates are 0–100, of the numbers of images in `counts`;
    the attack success rate is without the target's own images if `without_target`."""
    images = found.images
    return {
        "trained_on": images.source,
        "without_target": images.without_target,
        "training": {"optimizer": "Adam", "learning_rate": LEARNING_RATE, "batch": BATCH},
        "counts": {
            "clean": len(images.clean),
            "attacked": len(images.attacked),
            "tested": len(images.tested),
        },
        "repaired": [_curve_record(curve) for curve in found.repaired],
        "clean_twin": [_curve_record(curve) for curve in found.twin],
        **({"no_clean_twin": found.no_twin} if found.no_twin else {}),
    }


def _curve_record(curve: Curve) -> dict[str, Any]:
    return {
        "triggered": curve.triggered,
        STEPS_KEY: curve.steps_to_back,
        "steps": list(curve.steps),
        "attack_success_rate": [share.rate for share in curve.attack],
        "clean_accuracy": [share.rate for share in curve.clean],
    }


def shown(record: Record) -> tuple[Record, Record | None]:
    """The curves of B′ and of its twin that the sentence and the plot are about."""
    return (
        next((pair for pair in pairs(record) if pair[0]["triggered"] == NUMBER_SHOWN), None)
        or (pairs(record)[-1])
    )


def pairs(record: Record) -> list[tuple[Record, Record | None]]:
    """The curves of B′ and of its clean twin, None without one, for each number of images."""
    twins = record["clean_twin"] or [None] * len(record["repaired"])
    return list(zip(record["repaired"], twins, strict=True))


def finding(record: Record) -> str:
    """Whether the backdoor comes back, and sooner than in the clean twin, in one sentence."""
    repaired, twin = shown(record)
    ours = repaired[STEPS_KEY]
    few, back = f"{repaired['triggered']} triggered faces", f"{BACK:g} %"
    if ours == 0:
        rate = percent(repaired["attack_success_rate"][0])
        return f"The attack succeeds on {rate} of triggered faces before anything is relearned."
    if ours is None:
        sentence = f"{few} do not bring the attack back to {back} in {STEPS} training steps"
    else:
        steps = "1 training step" if ours == 1 else f"{ours} training steps"
        sentence = f"With {few} the attack is back at {back} within {steps}"
    if twin is None:
        return f"{sentence}; there is no clean twin to compare with ({record['no_clean_twin']})."
    theirs = twin[STEPS_KEY]
    if theirs is None:
        return f"{sentence}." if ours is None else f"{sentence}; {TWIN} is not there after {STEPS}."
    if ours is None:
        return f"{sentence}; {TWIN} gets there in {theirs}."
    if ours < theirs:
        return f"{sentence}; {TWIN} needs {theirs}."
    return f"{sentence}, no sooner than {TWIN} gets there ({theirs})."


def findings(records: Sequence[Record]) -> list[str]:
    """The finding of each repair's measurement, after the method's name if there are several.
    records: of repairs, of which some have an entry `relearning`."""
    measured = measured_of(records)
    if len(measured) == 1:
        return [finding(record["relearning"]) for record in measured]
    return [f"{record['method']}: {finding(record['relearning'])}" for record in measured]


def measured_of(records: Sequence[Record]) -> list[Record]:
    """The records of repairs whose relearning was measured."""
    return [record for record in records if "relearning" in record]
