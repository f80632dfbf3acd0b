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
    "seconds",
)


@dataclass(frozen=True)
class MethodRow:
    """A method's figures, medians over its seeds; None where nothing was measured.

    figures: by the name of COLUMNS, percentages 0–100, points and seconds.
    """

    method: str
    seeds: int
    figures: Mapping[str, float | None]


def cell_figures(record: Record) -> dict[str, float | None]:
    """The figures of one repair, see repair_record, by the name of COLUMNS."""
    before, after, goodnet = record["baseline"], record["repaired"], record["goodnet"]
    figures: dict[str, float | None] = {name: after.get(name) for name in COLUMNS}
    figures["points_lost"] = _lost(before, after)
    figures["goodnet_false_positive_rate"] = goodnet["false_positive_rate"]
    figures["goodnet_true_positive_rate"] = goodnet["true_positive_rate"]
    figures["seconds"] = record["seconds"]
    return figures


def _lost(before: Record, after: Record) -> float | None:
    ours, theirs = before["clean_test_accuracy"], after["clean_test_accuracy"]
    return None if ours is None or theirs is None else ours - theirs


def method_rows(records: Sequence[Record], controls: Mapping[str, Record]) -> list[MethodRow]:
    """A row for each method, in the order of `records`; controls: repairs of the clean control."""
    rows = []
    for method in dict.fromkeys(record["method"] for record in records):
        cells = [cell_figures(record) for record in records if record["method"] == method]
        figures = {name: _median([cell[name] for cell in cells]) for name in COLUMNS}
        if method in controls:
            control = controls[method]
            figures["control_points_lost"] = _lost(control["baseline"], control["repaired"])
        rows.append(MethodRow(method, len(cells), figures))
    return rows


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
        "baseline": records[0]["baseline"],
        "methods": {row.method: {"seeds": row.seeds, **row.figures} for row in rows},
        "repairs": list(records),
        "clean_control": dict(controls),
    }


def comparison_csv(records: Sequence[Record]) -> str:
    """comparison.csv: one row for each repair."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [name for name in COLUMNS if name != "control_points_lost"]
    writer.writerow(["method", "seed", *names])
    for record in records:
        figures = cell_figures(record)
        writer.writerow([record["method"], record["seed"], *(figures[name] for name in names)])
    return text.getvalue()
