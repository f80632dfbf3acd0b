"""Plots of results show the values of their data frames."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

import ytf_torch
from tests.made.small_run import small_sets
from ytf_torch.network.checkpoint import Checkpoint


@pytest.fixture
def given(tmp_path: Path, checkpoint: Checkpoint) -> tuple[Path, Path, Path]:
    small_sets(tmp_path, checkpoint)
    return tmp_path / "valid.h5", tmp_path / "test.h5", tmp_path / "bd_test0.h5"


def bars(figure: Figure) -> dict[str, list[float]]:
    """Network → heights of its bars."""
    found = {}
    for container in figure.axes[0].containers:
        if isinstance(container, BarContainer):
            heights = [bar.get_height() for bar in container.patches]
            found[str(container.get_label())] = heights
    return found


def intervals(figure: Figure) -> list[tuple[float, float]]:
    """The end points of all interval lines."""
    lines = [line for part in figure.axes[0].collections for line in part.get_paths()]
    ends = [np.asarray(line.vertices)[:, 1] for line in lines]
    return [(float(low), float(high)) for low, high in ends]


def rates(figures: ytf_torch.Figures | None) -> list[float]:
    """The rates in the order of the table's columns."""
    assert figures is not None
    shares = [
        figures.clean_valid_accuracy,
        figures.clean_accuracy,
        figures.attack_success_rate,
        figures.attack_success_rate_without_target,
        figures.clean_target_rate,
        figures.robust_accuracy,
        figures.false_positive_rate,
        figures.true_positive_rate,
    ]
    return [share.rate for share in shares if share is not None]


def test_a_repair_draws_its_rates(checkpoint: Checkpoint, given: tuple[Path, Path, Path]) -> None:
    found = ytf_torch.repair(checkpoint, *given, method="pruning")
    evaluation = found.evaluation
    networks = {"B": evaluation.model, "B′": evaluation.repaired, "GoodNet": evaluation.goodnet}
    expected = {name: pytest.approx(rates(figures)) for name, figures in networks.items()}
    assert bars(found.plot()) == expected
    labels = [text.get_text() for text in found.plot().axes[0].get_xticklabels()]
    assert labels[0] == "validation\naccuracy"
    assert labels[-1] == "TPR"


def test_an_evaluation_draws_its_rates_with_their_intervals(
    checkpoint: Checkpoint, given: tuple[Path, Path, Path]
) -> None:
    found = ytf_torch.evaluate(checkpoint, given[1])
    accuracy = found.model.clean_accuracy
    assert accuracy is not None
    assert bars(found.plot()) == {"network": [accuracy.rate]}
    assert intervals(found.plot()) == [pytest.approx((accuracy.low, accuracy.high))]


def test_a_scan_draws_each_class_and_the_threshold(
    checkpoint: Checkpoint, given: tuple[Path, Path, Path]
) -> None:
    found = ytf_torch.scan(checkpoint, given[0], methods=["last-layer"])
    (axes,) = found.plot().axes
    suspicions = found.suspicions["last-layer"]
    assert axes.get_title() == "last-layer"
    assert [bar.get_height() for bar in axes.patches] == list(suspicions.anomaly)  # type: ignore[attr-defined]
    (line,) = axes.lines
    assert set(line.get_ydata()) == {suspicions.threshold}  # type: ignore[arg-type]


def test_a_comparison_draws_a_mark_for_each_method(
    checkpoint: Checkpoint, given: tuple[Path, Path, Path]
) -> None:
    found = ytf_torch.compare(checkpoint, *given, methods=["pruning", "clp"])
    marks = {
        str(line.get_label()): (line.get_xdata()[0], line.get_ydata()[0])  # type: ignore[index]
        for line in found.plot().axes[0].lines[:2]
    }
    assert marks == {
        row.method: (
            row.figures["points_lost"],
            row.figures["attack_success_rate_without_target"],
        )
        for row in found.rows
    }
    alone = ytf_torch.compare(checkpoint, given[0], methods=["pruning"])
    with pytest.raises(ytf_torch.InputError, match=r"Give `clean_test` and `poisoned_tests`"):
        alone.plot()


def audit_of(found: ytf_torch.RepairResult) -> ytf_torch.AuditResult:
    """An audit that contains this repair."""
    record: dict[str, Any] = json.loads(found.files["result.json"])
    goodnet = found.evaluation.goodnet
    assert goodnet is not None
    flags = {
        "clean_valid": goodnet.clean_valid_flagged,
        "clean_test": goodnet.false_positive_rate,
        "poisoned_test": goodnet.true_positive_rate,
    }
    record["goodnet_flags"] = {name: share and asdict(share) for name, share in flags.items()}
    return ytf_torch.AuditResult({"steps": {"repair": record}, "not_done": []}, {})


@pytest.mark.parametrize("sets", [1, 3], ids=["clean alone", "triggered too"])
def test_an_audit_shows_the_figures_of_its_repair(
    checkpoint: Checkpoint, given: tuple[Path, Path, Path], sets: int
) -> None:
    repaired = ytf_torch.repair(checkpoint, *given[:sets], method="pruning")
    audited = audit_of(repaired)
    assert bars(audited.plot()) == bars(repaired.plot())
    pandas = pytest.importorskip("pandas")
    pandas.testing.assert_frame_equal(audited.to_frame(), repaired.to_frame())


def test_an_audit_without_a_repair_has_nothing_to_draw() -> None:
    why = "The repair: there is not enough memory for this"
    steps = {"convert": {}, "repair": {"not_done": "there is not enough memory for this"}}
    for record in ({"steps": steps, "not_done": [why]}, {"steps": {}, "not_done": [why]}):
        found = ytf_torch.AuditResult(record, {})
        with pytest.raises(ytf_torch.InputError, match=f"no figures to draw: {why}"):
            found.plot()
        pytest.importorskip("pandas")
        assert len(found.to_frame()) == 0
