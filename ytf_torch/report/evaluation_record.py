"""The JSON record of an evaluation, as ytf-evaluate writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ytf_torch.defences.evaluation import Evaluation
from ytf_torch.report.rates import FLAGGED, rates_record

RATES = (
    "clean_accuracy",
    "attack_success_rate",
    "attack_success_rate_without_target",
    "robust_accuracy",
)


def evaluation_record(evaluation: Evaluation, files: Sequence[Path] = ()) -> dict[str, Any]:
    """All rates as JSON: percentages 0–100 at full precision, None where not measured.

    Each rate is stored under its name, and with its 95 % interval and counts under `intervals`.
    With several triggered sets, `poisoned_tests` has the rates of each set. files: their paths.
    """
    record = rates_record(evaluation.model, RATES)
    if evaluation.repaired and evaluation.goodnet:
        record["repaired"] = rates_record(evaluation.repaired, RATES)
        record["goodnet"] = rates_record(evaluation.goodnet, (*RATES, *FLAGGED))
    if evaluation.pairing is not None:
        record["pairs"] = evaluation.pairing.record
    if len(evaluation.triggered) > 1:
        record["poisoned_tests"] = [
            {"file": str(file)} | evaluation_record(evaluation.of_set(tallies))
            for file, tallies in zip(files, evaluation.triggered, strict=True)
        ]
    return record
