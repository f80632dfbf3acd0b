"""The records of a comparison of repairs: comparison.json, comparison.csv, rows of its page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ytf_torch.defences.doubts import Doubt
from ytf_torch.report.verdict import doubtful

Record = Mapping[str, Any]

COLUMNS = (
    "points_lost",
    "clean_test_accuracy",
    "attack_success_rate",
    "attack_success_rate_without_target",
    "robust_accuracy",
    "goodnet_false_positive_rate",
    "goodnet_true_positive_rate",
    "control_points_lost",
    "validation_points_lost",
    "clean_target_rate",
    "seconds",
)


@dataclass(frozen=True)
class MethodRow:
    """A method's results: medians over its seeds, None where not measured.

    figures: by name of COLUMNS; percentages 0–100, percentage points, seconds. failed: reasons for
    missing repairs, of some seeds or of the clean control. verdicts: each repair's verdict kind.
    """

    method: str
    seeds: int
    figures: Mapping[str, float | None]
    failed: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()


def failed_record(method: str, seed: int, reason: str) -> dict[str, Any]:
    """The record of a repair that could not be made."""
    return {"method": method, "seed": seed, "failed": reason}


def doubted(records: Sequence[Record], grave: Sequence[Doubt]) -> list[Record]:
    """The records of repairs with the verdict of ytf-repair where there are grave warnings about
    the image sets: the first of them replaces it."""
    if not grave:
        return list(records)
    verdict = doubtful(grave[0]).record
    return [record if "failed" in record else {**record, "verdict": verdict} for record in records]


def made(records: Sequence[Record]) -> list[Record]:
    """The records of successful repairs."""
    return [record for record in records if "failed" not in record]


def cell_figures(record: Record) -> dict[str, float | None]:
    """The figures of one repair, by name of COLUMNS. record: see repair_record."""
    before, after, goodnet = record["baseline"], record["repaired"], record["goodnet"]
    figures: dict[str, float | None] = {name: after.get(name) for name in COLUMNS}
    figures["points_lost"] = _lost(before, after)
    figures["validation_points_lost"] = _lost(before, after, "clean_valid_accuracy")
    figures["goodnet_false_positive_rate"] = goodnet["false_positive_rate"]
    figures["goodnet_true_positive_rate"] = goodnet["true_positive_rate"]
    figures["seconds"] = record["seconds"]
    return figures


def _lost(before: Record, after: Record, accuracy: str = "clean_test_accuracy") -> float | None:
    rate_before, rate_after = before.get(accuracy), after.get(accuracy)
    return None if rate_before is None or rate_after is None else rate_before - rate_after


def method_rows(records: Sequence[Record], controls: Mapping[str, Record]) -> list[MethodRow]:
    """One row per method, in the order of `records`. controls: repairs of the clean control, by
    method."""
    rows = []
    for method in dict.fromkeys(record["method"] for record in records):
        repairs = [record for record in made(records) if record["method"] == method]
        cells = [cell_figures(record) for record in repairs]
        figures = {name: _median([cell[name] for cell in cells]) for name in COLUMNS}
        if method in controls and "failed" not in controls[method]:
            control = controls[method]
            figures["control_points_lost"] = _lost(control["baseline"], control["repaired"])
        verdicts = tuple(record["verdict"]["kind"] for record in repairs if "verdict" in record)
        failures = _failures(method, records, controls)
        rows.append(MethodRow(method, len(cells), figures, failures, verdicts))
    return rows


def _failures(
    method: str, records: Sequence[Record], controls: Mapping[str, Record]
) -> tuple[str, ...]:
    failed_records = [
        record for record in records if record["method"] == method and "failed" in record
    ]
    reasons = [f"{method}, seed {record['seed']}: {record['failed']}" for record in failed_records]
    control = controls.get(method, {})
    if "failed" in control:
        reasons.append(f"{method}, on the clean control: {control['failed']}")
    return tuple(reasons)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) and known else None


def comparison_record(
    records: Sequence[Record], controls: Mapping[str, Record], warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """The content of comparison.json: warnings about the inputs, medians per method, and the
    record of every repair."""
    rows = method_rows(records, controls)
    return {
        "warnings": list(warnings),
        "baseline": made(records)[0]["baseline"],
        "methods": {row.method: _row_record(row) for row in rows},
        "repairs": list(records),
        "clean_control": dict(controls),
    }


def _row_record(row: MethodRow) -> dict[str, Any]:
    failed = {"failed": list(row.failed)} if row.failed else {}
    verdicts = {"verdicts": list(row.verdicts)}
    return {"seeds": row.seeds, **row.figures, **verdicts, **failed}


def comparison_csv(records: Sequence[Record]) -> str:
    """The content of comparison.csv: one row per repair. If any failed, the last column gives the
    reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [name for name in COLUMNS if name != "control_points_lost"]
    extra_columns = [] if made(records) == list(records) else ["failed"]
    writer.writerow(["method", "seed", *names, *extra_columns])
    for record in records:
        figures = {} if "failed" in record else cell_figures(record)
        values = [figures.get(name) for name in names]
        reasons = [record.get(name) for name in extra_columns]
        writer.writerow([record["method"], record["seed"], *values, *reasons])
    return text.getvalue()
