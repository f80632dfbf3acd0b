"""Which repair of a comparison is next, whatever finishes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ytf_torch.defences.names import every
from ytf_torch.defences.rankings.kernel_norm import KernelNorm
from ytf_torch.report.compare.comparison import Record
from ytf_torch.run.comparison_plan import Plan, plan_of
from ytf_torch.run.repair_settings import CompareSettings

FAILED: Record = {"failed": "nothing to offer"}
MEASURED: Record = {"detectors": {"strip": 1}}
MADE: Record = {"detectors": {}}


def plan(*methods: Any, seeds: int = 1, control: bool = False) -> Plan:
    return plan_of(
        CompareSettings(
            model=Path("model"),
            clean_valid=Path("valid"),
            out=Path("out"),
            methods=methods,
            seeds=seeds,
            clean_control=Path("control") if control else None,
        )
    )


def started(plan: Plan) -> list[str]:
    """The names of all cells that may start now; + follows that of one with detectors."""
    names = []
    while (cell := plan.next_cell()) is not None:
        assert cell.detectors in ((), every("detector"))
        names.append(cell.name + ("+" if cell.detectors else ""))
    return names


@pytest.mark.parametrize(
    ("methods", "more", "names"),
    [
        (("clp", "anp"), {"seeds": 2}, ["clp-0+", "clp-1", "anp-0", "anp-1"]),
        (("clp", "distillation"), {"seeds": 2}, ["clp-0", "clp-1", "distillation-0+"]),
        (("clp",), {"control": True}, ["clp-0+", "control-clp-0"]),
        ((KernelNorm(), "of:others"), {}, ["other-0-0+", "other-1-0"]),
    ],
)
def test_order_is_that_of_the_table_and_the_recommended_repair_is_measured(
    methods: tuple[Any, ...], more: dict[str, Any], names: list[str]
) -> None:
    assert started(plan(*methods, **more))[: len(names)] == names


def test_for_several_at_a_time_long_repairs_start_first_and_results_keep_their_order() -> None:
    comparison = plan("clp", "i-bau", control=True)
    comparison.start_longest_first(500, 40)
    assert started(comparison) == ["i-bau-0", "control-i-bau-0", "clp-0+", "control-clp-0"]
    comparison.records |= {"i-bau-0": MADE, "clp-0": MEASURED}
    assert comparison.of_badnet == [MEASURED, MADE]


def test_what_an_earlier_run_has_stored_is_not_started() -> None:
    resumed = plan("clp", "anp", seeds=2)
    resumed.records |= {"clp-0": MEASURED, "anp-1": MADE}
    assert started(resumed) == ["clp-1", "anp-0"]


def test_one_after_another_the_next_is_measured_where_one_fails() -> None:
    comparison = plan("clp", "anp", "rnp", control=True)
    records = {"clp-0": FAILED, "anp-0": FAILED, "rnp-0": MEASURED, "control-clp-0": FAILED}
    names = []
    while (cell := comparison.next_cell()) is not None:
        names.append(cell.name + ("+" if cell.detectors else ""))
        comparison.records[cell.name] = records.get(cell.name, MADE)
    controls = ["control-clp-0", "control-anp-0", "control-rnp-0"]
    assert names == ["clp-0+", "anp-0+", "rnp-0+", *controls]
    assert comparison.of_badnet == [FAILED, FAILED, MEASURED]
    assert comparison.of_control == {"clp": FAILED, "anp": MADE, "rnp": MADE}
    assert not comparison.nothing_can_be_made


def test_side_by_side_one_that_was_made_without_detectors_is_made_again() -> None:
    comparison = plan("clp", "anp", "rnp")
    assert started(comparison) == ["clp-0+", "anp-0", "rnp-0"]
    comparison.records["rnp-0"] = MADE
    comparison.records["clp-0"] = FAILED
    assert started(comparison) == []  # the next is still running
    comparison.records["anp-0"] = MADE
    assert started(comparison) == ["anp-0+"]
    assert started(comparison) == []
    comparison.records["anp-0"] = FAILED
    assert started(comparison) == ["rnp-0+"]
    comparison.records["rnp-0"] = MEASURED
    assert started(comparison) == []
    assert comparison.of_badnet == [FAILED, FAILED, MEASURED]


def test_that_nothing_can_be_made_is_known_when_all_repairs_of_b_have_failed() -> None:
    comparison = plan("clp", "anp", control=True)
    comparison.records["clp-0"] = FAILED
    assert not comparison.nothing_can_be_made
    comparison.records["anp-0"] = FAILED
    assert comparison.nothing_can_be_made
