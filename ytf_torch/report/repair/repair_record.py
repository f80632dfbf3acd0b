"""result.json of a repair, which is also its record in a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ytf_torch.defences.detectors.figures import DetectorFigures
from ytf_torch.defences.repairing import RepairOutcome
from ytf_torch.metrics import rate_of
from ytf_torch.network.provenance import Provenance
from ytf_torch.report.rates import FLAGGED, rates_record
from ytf_torch.report.relearning import relearning_record
from ytf_torch.report.repair.repair_verdict import judge_repair

NAMES = {
    "clean_valid_accuracy": "clean_valid_accuracy",
    "clean_accuracy": "clean_test_accuracy",
    "attack_success_rate": "attack_success_rate",
    "attack_success_rate_without_target": "attack_success_rate_without_target",
    "robust_accuracy": "robust_accuracy",
    "clean_target_rate": "clean_target_rate",
}


def repair_record(
    outcome: RepairOutcome, provenance: Provenance, warnings: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The content of a repair's result.json.

    Percentages are 0–100 at full precision; None where a set was not given or true labels are not
    known.
    """
    evaluation = outcome.evaluation
    assert evaluation.repaired is not None
    assert evaluation.goodnet is not None
    return {
        "method": outcome.method,
        "seed": outcome.seed,
        "seconds": outcome.seconds,
        "model": provenance.record,
        "history": list(outcome.candidate.history),
        "warnings": list(warnings),
        "counts": counts(outcome),
        "baseline": rates_record(evaluation.model, NAMES),
        "repaired": rates_record(evaluation.repaired, NAMES),
        "goodnet": rates_record(evaluation.goodnet, NAMES)
        | {name: rate_of(getattr(evaluation.goodnet, name)) for name in FLAGGED},
        "pairs": None if evaluation.pairing is None else evaluation.pairing.record,
        "detectors": {
            name: detector_record(figures) for name, figures in outcome.detectors.items()
        },
        "verdict": judge_repair(outcome).record,
        # Only where there are any: most records keep their bytes.
        **(
            {"detectors_not_applicable": dict(outcome.not_applicable)}
            if outcome.not_applicable
            else {}
        ),
        **relearning_entry(outcome),
    }


def relearning_entry(outcome: RepairOutcome) -> dict[str, Any]:
    """The entry `relearning` of the record; nothing where it was not measured."""
    if outcome.relearning is None:
        return {}
    return {"relearning": relearning_record(outcome.relearning)}


def counts(outcome: RepairOutcome) -> dict[str, int | None]:
    """The number of images in each set."""
    evaluation = outcome.evaluation
    attack = evaluation.model.attack_success_rate
    assert evaluation.clean_valid is not None
    return {
        "clean_valid": evaluation.clean_valid.images,
        "clean_test": evaluation.clean.images if evaluation.clean else None,
        "poisoned_test": attack.images if attack else None,
    }


def detector_record(figures: DetectorFigures) -> dict[str, Any]:
    """A detector's results. Rates in percent, by nominal false positive rate."""
    by_nominal: Mapping[str, Any] = {f"{at.nominal:g}": at for at in figures.at}
    return {
        "auroc": figures.auroc,
        **{
            name: {nominal: rate_of(getattr(at, name)) for nominal, at in by_nominal.items()}
            for name in FLAGGED
        },
        # Infinite if no clean validation image has a finite score; JSON has no infinity.
        "threshold": {
            nominal: at.threshold if math.isfinite(at.threshold) else None
            for nominal, at in by_nominal.items()
        },
        "curve": [list(point) for point in figures.curve],
    }
