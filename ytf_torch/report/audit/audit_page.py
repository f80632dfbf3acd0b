"""report.html of an audit: what is known, what is not, what to do next; then all rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ytf_torch.metrics import Share
from ytf_torch.network.preprocessing import preprocessing_of_record
from ytf_torch.network.provenance import tool_version
from ytf_torch.report.audit.audit_findings import measured_at
from ytf_torch.report.templates import template

Record = Mapping[str, Any]
RATES = {
    "clean_valid_accuracy": "clean validation accuracy",
    "clean_test_accuracy": "clean test accuracy",
    "attack_success_rate": "attack success rate",
    "attack_success_rate_without_target": "… without the target’s own",
    "robust_accuracy": "robust accuracy",
}


def audit_html(record: Record, command: str) -> str:
    """Render a self-contained page without scripts or external resources.

    record: see audit_record. command: the command line that repeats the audit.
    """
    steps = record["steps"]
    repaired = steps.get("repair", {"not_done": ""})
    return template("audit/audit.html").render(
        record=record,
        warnings=record["warnings"],
        headline=record["headline"],
        answers={
            name: record[key]
            for name, key in (
                ("What is known", "known"),
                ("What is not known", "not_known"),
                ("What to do next", "next"),
                ("What was not done, and why", "not_done"),
            )
        },
        columns=_columns(repaired),
        networks=_networks(repaired),
        detectors=_detectors(record),
        folders=[name for name in steps if _has_folder(name, steps[name])],
        preprocessing=preprocessing_of_record(record["model"], "model"),
        command=command,
        versions={"ytf-torch": tool_version(), "PyTorch": torch.__version__},
    )


def _share(share: Record | None) -> Share | None:
    return None if share is None else Share(**share)


def _columns(repaired: Record) -> dict[str, str]:
    """The measured rates: name → column heading."""
    if "not_done" in repaired:
        return {}
    intervals = repaired["baseline"]["intervals"]
    return {name: head for name, head in RATES.items() if intervals[name] is not None}


def _networks(repaired: Record) -> dict[str, list[Share | None]]:
    """A row for each network, in the order of the columns."""
    if "not_done" in repaired:
        return {}
    networks = {
        "B, as it came": "baseline",
        "B′, repaired": "repaired",
        "GoodNet of both": "goodnet",
    }
    columns = _columns(repaired)
    return {
        name: [_share(repaired[key]["intervals"][column]) for column in columns]
        for name, key in networks.items()
    }


def _detectors(record: Record) -> list[tuple[str, Share | None, Share | None, Share | None]]:
    """The share of clean validation, clean test and triggered images that each detector flags."""
    steps = record["steps"]
    if "not_done" in steps.get("detect", {"not_done": ""}):
        return []
    detect, rates = steps["detect"], measured_at(record) or {}
    name = f"{detect['detector']}, nominal {detect['nominal']:g} %"
    valid = _share(detect["clean_valid_flagged"])
    test, triggered = map(
        _share, (rates.get("false_positive_rate"), rates.get("true_positive_rate"))
    )
    flags = {name: _share(share) for name, share in steps["repair"]["goodnet_flags"].items()}
    goodnet = (flags["clean_valid"], flags["clean_test"], flags["poisoned_test"])
    return [(name, valid, test, triggered), ("GoodNet", *goodnet)]


def _has_folder(name: str, step: Record) -> bool:
    return name != "detect" and "not_done" not in step
