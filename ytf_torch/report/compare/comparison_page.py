"""report.html of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ytf_torch.network.provenance import tool_version
from ytf_torch.report.compare.comparison import MethodRow, Record, made, method_rows
from ytf_torch.report.compare.comparison_plots import attack_of, roc_figure, trade_off_figure
from ytf_torch.report.pictures import drawings
from ytf_torch.report.relearning_shown import relearning_shown
from ytf_torch.report.templates import template
from ytf_torch.report.thresholds import FAIR_PRICE, RECOGNISED, SUCCESS
from ytf_torch.report.verdict import UNKNOWN, percent

# The kinds of verdicts on repairs after which the attack still works, or the network does not.
NO_SUCCESS = {"failed", "weakened", "unfit"}
DOUBTFUL = (
    "Which method removes the backdoor cannot be said before the warnings about the image sets are "
    "settled."
)


def comparison_html(
    records: Sequence[Record],
    controls: Mapping[str, Record],
    command: str,
    warnings: Sequence[str] = (),
) -> str:
    """Render a self-contained page without scripts or external resources.

    command: the command line that repeats the comparison. warnings: about its inputs.
    """
    rows = method_rows(records, controls)
    records = made(records)
    curves = _curves(records)
    return template("compare/comparison.html").render(
        warnings=warnings,
        headline=headline(rows),
        model=records[0]["model"]["source_file"],
        baseline=records[0]["baseline"],
        counts=records[0]["counts"],
        rows=[(row, destinations(row)) for row in rows],
        seeds=max(row.seeds for row in rows),
        with_control=bool(controls),
        failed=[line for row in rows for line in row.failed],
        trade_off=drawings(lambda size: trade_off_figure(rows, size)),
        roc=drawings(lambda size: roc_figure(curves, size)),
        detectors=_detectors(records),
        not_applicable=_not_applicable(records),
        relearning=relearning_shown(records),
        command=command,
        limits={"success": SUCCESS, "cost": FAIR_PRICE, "recognised": RECOGNISED},
        versions={"ytf-torch": tool_version(), "PyTorch": torch.__version__},
    )


def headline(rows: Sequence[MethodRow]) -> str:
    """A sentence that names the successful methods, unless a grave warning about the image sets
    forbids it."""
    if any("doubtful" in row.verdicts for row in rows):
        return DOUBTFUL
    judged = [row for row in rows if attack_of(row) is not None]
    if not judged:
        return UNKNOWN
    good = [row.method for row in judged if succeeds(row)]
    halves = "".join(_unlearned_only(row) for row in judged if unlearns(row) and not succeeds(row))
    if not good:
        best = min(judged, key=lambda row: attack_of(row) or 0.0)
        return (
            f"No method removes the backdoor at a bearable price; {best.method} leaves the "
            f"attack the least success, {percent(attack_of(best) or 0.0)}{_at_cost(best)}.{halves}"
        )
    return f"{_listed(good)} {'removes' if len(good) == 1 else 'remove'} the backdoor.{halves}"


def unlearns(row: MethodRow) -> bool:
    """Whether a method removes the backdoor at an acceptable cost.

    Its attack success rate is at most SUCCESS, it costs at most FAIR_PRICE points on either clean
    set, and at most half of its repairs have a verdict of NO_SUCCESS.
    """
    attack = attack_of(row)
    lost = (row.figures["points_lost"], row.figures["validation_points_lost"])
    cheap = all(points is None or points <= FAIR_PRICE for points in lost)
    bad = sum(verdict in NO_SUCCESS for verdict in row.verdicts)
    return attack is not None and attack <= SUCCESS and cheap and 2 * bad <= len(row.verdicts)


def succeeds(row: MethodRow) -> bool:
    """Whether triggered images also get their true class, if it is known."""
    robust = row.figures["robust_accuracy"]
    return unlearns(row) and (robust is None or robust >= RECOGNISED)


def _unlearned_only(row: MethodRow) -> str:
    robust = percent(row.figures["robust_accuracy"] or 0.0)
    return (
        f" After {row.method} the triggered faces have lost the target, but only {robust} of them "
        "get their true class (robust accuracy)."
    )


def _at_cost(row: MethodRow) -> str:
    lost = row.figures["points_lost"]
    return "" if lost is None else f", and costs {lost:.1f} points of clean test accuracy"


def destinations(row: MethodRow) -> tuple[float, float, float] | None:
    """The predictions on triggered images of other classes than the target, in percent: target,
    true class, any other class. None where true classes are not known."""
    to_target = row.figures["attack_success_rate_without_target"]
    robust = row.figures["robust_accuracy"]
    if to_target is None or robust is None:
        return None
    return to_target, robust, max(0.0, 100 - to_target - robust)


def _curves(records: Sequence[Record]) -> dict[str, Sequence[Sequence[float]]]:
    curves: dict[str, Sequence[Sequence[float]]] = {}
    for record in records:
        for name, figures in record["detectors"].items():
            if figures["curve"]:
                curves.setdefault(name, figures["curve"])
    return curves


def _detectors(records: Sequence[Record]) -> dict[str, Any]:
    detectors: dict[str, Any] = {}
    for record in records:
        for name, figures in record["detectors"].items():
            detectors.setdefault(name, figures | {"method": record["method"]})
    return detectors


def _not_applicable(records: Sequence[Record]) -> dict[str, str]:
    """Why detectors were not measured, by their names."""
    reasons: dict[str, str] = {}
    for record in records:
        reasons |= record.get("detectors_not_applicable", {})
    return reasons


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
