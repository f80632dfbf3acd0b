"""The scores of benchmarks/scans.py, as TrojAI's."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scans import (
    Measured,
    auroc,
    brier,
    cross_entropy,
    known,
    probability_of_backdoor,
    tables,
    write,
)

ROW = Measured(
    network="orl/bd_net",
    classes=40,
    backdoored=True,
    scan="last-layer",
    anomaly=2.8,
    above=False,
    twins=19,
    p_value=0.05,
    alarms=(5.0, 0.9, 23.6),
)


@pytest.mark.parametrize(
    ("p_value", "probability"),
    # −e · p · ln p is 0.4072 for 0.05 and 0.0188 for 0.001.
    [(0.001, 0.9816), (0.05, 0.7106), (1 / math.e, 0.5), (0.5, 0.5), (1.0, 0.5)],
)
def test_a_p_value_supports_a_probability_of_at_least_one_half(
    p_value: float, probability: float
) -> None:
    assert probability_of_backdoor(p_value) == pytest.approx(probability, abs=1e-4)


def test_cross_entropy_and_brier_score_of_one_network() -> None:
    clean, ordinary = replace(ROW, backdoored=False), replace(ROW, p_value=0.7)
    assert cross_entropy(ROW) == pytest.approx(-math.log(0.7106), abs=1e-3)
    assert cross_entropy(clean) == pytest.approx(-math.log(0.2894), abs=1e-3)
    assert cross_entropy(ordinary) == pytest.approx(math.log(2))
    assert brier(ROW) == pytest.approx(0.2894**2, abs=1e-4)
    assert brier(clean) == pytest.approx(0.7106**2, abs=1e-4)
    assert brier(ordinary) == 0.25


def test_auroc_counts_pairs_and_half_of_the_ties() -> None:
    bad = [replace(ROW, p_value=p) for p in (0.05, 0.5)]
    good = [replace(ROW, p_value=p, backdoored=False) for p in (0.5, 1.0)]
    assert auroc([*bad, *good]) == (1 + 1 + 0.5 + 1) / 4
    assert math.isnan(auroc(bad))


def test_rows_are_written_and_read_back(tmp_path: Path) -> None:
    other = replace(ROW, network="mnist/clean_net", classes=10, backdoored=False, p_value=0.8)
    write([other, ROW], tmp_path)
    assert known(tmp_path) == [ROW, other]
    text = (tmp_path / "SCANS.md").read_text(encoding="utf-8")
    assert all(line in text for line in tables([ROW, other]))
    assert "| orl/bd_net | 40 | yes | last-layer | 2.8 | no | 19 | 0.05 | 0.71 | 5 (1–24) |" in text
    assert "| last-layer | 1 | 1 | 1.00 | 0.167 | 0.517 ± 0.345 |" in text
