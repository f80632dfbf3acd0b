from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.defences import Study, known, measure, row, write


def record(seed: int, after: float, star: float | None, badnet: str = "square 0") -> dict[str, Any]:
    """What a cell holds, as far as the table reads it."""
    name = "attack_success_rate_without_target"
    return {
        "badnet": badnet,
        "model": {"classes": 40},
        "method": "distillation",
        "seed": seed,
        "seconds": 60.0 + seed,
        "code": f"c0de{seed}",
        "baseline": {"clean_test_accuracy": 95.0, name: star},
        "repaired": {"clean_test_accuracy": after, name: star, "robust_accuracy": 90.0 + seed},
        "detectors": {
            "energy-and-dissent": {
                "false_positive_rate": {"1": 1.0 + seed},
                "true_positive_rate": {"1": 100.0 - seed},
            }
        },
    }


def test_a_row_gives_the_median_and_the_worst_seed() -> None:
    line = row([record(0, 94.0, 1.0), record(1, 90.0, 3.0), record(2, 94.5, 2.0)])
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:6] == ["square 0", "40", "distillation", "3", "95.0", "1.0"]
    assert cells[6:] == [
        "1.0 (5.0)",
        "2.0 (3.0)",
        "91.0 (90.0)",
        "2.0 (3.0)",
        "99.0 (98.0)",
        "61.0 (62.0)",
        "c0de0, c0de1, c0de2",
    ]


def test_what_is_not_known_is_no_number() -> None:
    cells = [cell.strip() for cell in row([record(0, 94.0, None)]).strip("|").split("|")]
    assert (cells[5], cells[7]) == ("–", "–")


def test_each_badnet_has_a_row_and_each_run_a_record(tmp_path: Path) -> None:
    records = [record(0, 94.0, 1.0), record(1, 93.0, 1.0), record(0, 92.0, 1.0, badnet="clean 0")]
    write(records, tmp_path)
    table = (tmp_path / "DEFENCES.md").read_text(encoding="utf-8")
    assert [line[:10] for line in table.splitlines()[-2:]] == ["| square 0", "| clean 0 "]
    assert json.loads((tmp_path / "DEFENCES.json").read_text(encoding="utf-8")) == records


def test_a_repair_that_was_measured_before_is_read_from_its_file(tmp_path: Path) -> None:
    study = Study("square", 0, tmp_path / "nowhere")
    (tmp_path / "nowhere-distillation-1.json").write_text(json.dumps(record(1, 94.0, 1.0)))
    measure(study, "distillation", 1, tmp_path)
    assert known(tmp_path) == [record(1, 94.0, 1.0)]
    with pytest.raises(Exception, match="nowhere"):
        measure(study, "distillation", 2, tmp_path)


@pytest.mark.parametrize(("scale", "expected"), [(None, 1.0), ("1/255\n", 1 / 255), ("1", 1.0)])
def test_a_study_says_at_which_scale_its_network_reads_pixels(
    tmp_path: Path, scale: str | None, expected: float
) -> None:
    if scale is not None:
        (tmp_path / "scale").write_text(scale)
    assert Study("square", None, tmp_path).pixel_scale == expected


def test_a_study_of_given_faces_is_named_after_them(tmp_path: Path) -> None:
    assert Study("square", 0, tmp_path, "196 people").name == "square, 196 people 0"


def test_the_recommended_repair_comes_first(tmp_path: Path) -> None:
    other = record(0, 94.0, 1.0) | {"method": "anp"}
    (tmp_path / "a-anp-0.json").write_text(json.dumps(other))
    (tmp_path / "a-distillation-0.json").write_text(json.dumps(record(0, 93.0, 1.0)))
    assert [found["method"] for found in known(tmp_path)] == ["distillation", "anp"]
