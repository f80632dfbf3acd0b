"""A comparison of repairs: comparison.json, comparison.csv and the rows of its page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

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
    """A method's figures, medians over its seeds; None where nothing was measured.

    figures: by the name of COLUMNS, percentages 0–100, points and seconds. failed: why there is
    none for some seeds, or on the clean control. verdicts: of each repair, the kind of its verdict.
    """

    method: str
    seeds: int
    figures: Mapping[str, float | None]
    failed: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()


def failed_record(method: str, seed: int, reason: str) -> dict[str, Any]:
    """What stands in the place of a repair's record where it was not made."""
    return {"method": method, "seed": seed, "failed": reason}


def made(records: Sequence[Record]) -> list[Record]:
    """The records of repairs that were made."""
    return [record for record in records if "failed" not in record]


def cell_figures(record: Record) -> dict[str, float | None]:
    """The figures of one repair, see repair_record, by the name of COLUMNS."""
    before, after, goodnet = record["baseline"], record["repaired"], record["goodnet"]
    figures: dict[str, float | None] = {name: after.get(name) for name in COLUMNS}
    figures["points_lost"] = _lost(before, after)
    figures["validation_points_lost"] = _lost(before, after, "clean_valid_accuracy")
    figures["goodnet_false_positive_rate"] = goodnet["false_positive_rate"]
    figures["goodnet_true_positive_rate"] = goodnet["true_positive_rate"]
    figures["seconds"] = record["seconds"]
    return figures


def _lost(before: Record, after: Record, accuracy: str = "clean_test_accuracy") -> float | None:
    ours, theirs = before.get(accuracy), after.get(accuracy)
    return None if ours is None or theirs is None else ours - theirs


def method_rows(records: Sequence[Record], controls: Mapping[str, Record]) -> list[MethodRow]:
    """A row for each method, in the order of `records`; controls: repairs of the clean control."""
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
    cells = [record for record in records if record["method"] == method and "failed" in record]
    found = [f"{method}, seed {record['seed']}: {record['failed']}" for record in cells]
    control = controls.get(method, {})
    if "failed" in control:
        found.append(f"{method}, on the clean control: {control['failed']}")
    return tuple(found)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if len(known) == len(values) and known else None


def comparison_record(
    records: Sequence[Record], controls: Mapping[str, Record], warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """comparison.json: what speaks against the inputs, medians by method, and the whole record of
    every repair."""
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
    """comparison.csv: one row for each repair. Where one was not made, a last column says why."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [name for name in COLUMNS if name != "control_points_lost"]
    why = [] if made(records) == list(records) else ["failed"]
    writer.writerow(["method", "seed", *names, *why])
    for record in records:
        figures = {} if "failed" in record else cell_figures(record)
        values = [figures.get(name) for name in names]
        reasons = [record.get(name) for name in why]
        writer.writerow([record["method"], record["seed"], *values, *reasons])
    return text.getvalue()
