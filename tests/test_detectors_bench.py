from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.detectors import row, write


def record(badnet: str, detector: str, fpr: float, tpr: float) -> dict[str, Any]:
    """What a cell holds, as far as the table reads it."""
    return {
        "badnet": badnet,
        "classes": 1283,
        "attack_success_rate": 99.96,
        "detector": detector,
        "false_positive_rate": {"1": fpr, "5": 9.0},
        "true_positive_rate": {"1": tpr, "5": 99.0},
        "auroc": 0.98765,
    }


def test_a_row_gives_the_rates_at_1_percent() -> None:
    cells = [cell.strip() for cell in row(record("orl", "ted", 1.26, 88.0)).strip("|").split("|")]
    assert cells == ["orl", "1,283", "100.0", "`ted`", "1.3", "88.0", "0.988"]


def test_a_detector_that_refuses_has_a_row_of_dots() -> None:
    refused = record("orl", "ibd-psc", 0, 0) | {"refused": "it has no layer"}
    cells = [cell.strip() for cell in row(refused).strip("|").split("|")]
    assert cells[3:] == ["`ibd-psc`", "·", "·", "·"]


def test_failures_stand_first_among_the_rows_of_a_detector(tmp_path: Path) -> None:
    write(
        [
            record("good", "ted", 1.0, 99.0),
            record("many false alarms", "ted", 60.0, 99.0),
            record("other", "scale-up", 0.0, 100.0),
            record("blind", "ted", 0.0, 0.0),
            record("refused", "ted", 0.0, 0.0) | {"refused": "why"},
        ],
        tmp_path,
    )
    rows = (tmp_path / "DETECTORS.md").read_text().splitlines()[-5:]
    names = [line.split(" | ")[0].removeprefix("| ") for line in rows]
    assert names == ["other", "refused", "blind", "many false alarms", "good"]
    assert len(json.loads((tmp_path / "DETECTORS.json").read_text())) == 5
