"""result.json of an audit: the network, what each step found out, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ytf_torch.images.image_set import ImageSets
from ytf_torch.metrics import Figures, Share
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.report.audit.audit_findings import failed, findings
from ytf_torch.report.repair.repair_record import NAMES

Record = Mapping[str, Any]


def audit_record(
    checkpoint: Checkpoint,
    sets: ImageSets,
    steps: Mapping[str, Record],
    warnings: Sequence[str],
    model: str,
    folder: str,
) -> dict[str, Any]:
    """Every figure of an audit; percentages are 0–100 at full precision.

    steps: the record of each step by its name, of which one may be missing: after a failed
    conversion nothing else is done. model: what was audited. folder: that the audit writes, for
    commands to type next.
    """
    network = checkpoint.model
    graph = network.graph
    record: dict[str, Any] = {
        "model": checkpoint.provenance.record,
        "network": {
            "layers": len(graph.layers),
            "kinds": sorted({layer.kind.class_names[0] for layer in graph.layers}),
            "parameters": sum(tensor.numel() for tensor in network.parameters()),
        },
        "images": {
            "clean_valid": len(sets.clean_valid),
            "clean_test": None if sets.clean_test is None else len(sets.clean_test),
            "poisoned_test": sum(map(len, sets.poisoned_tests)) if sets.poisoned_tests else None,
        },
        "files": {
            "model": model,
            "clean_valid": str(sets.clean_valid.path),
            "clean_test": None if sets.clean_test is None else str(sets.clean_test.path),
            "poisoned_test": [str(one.path) for one in sets.poisoned_tests],
        },
        "warnings": list(warnings),
        "steps": {name: dict(found) for name, found in steps.items()},
    }
    return asdict(findings(record, folder)) | record


def is_no(record: Record) -> bool:
    """Whether the audit's answer is no: parity failed, no repaired network is fit for use, the
    attack succeeds on it as before, or one that was exported does not answer as it should."""
    steps = record["steps"]
    if steps["convert"].get("failed"):
        return True
    repaired = steps["repair"]
    if "not_done" in repaired or repaired["unfit"] or failed(record):
        return True
    return bool(steps["use"]["failed"])


def measured_networks(repaired: Record) -> dict[str, Figures]:
    """The figures of B, B′ and GoodNet that a record's repair holds; none where none was made."""
    if "baseline" not in repaired:
        return {}
    flags = repaired["goodnet_flags"]
    guarded = {
        "false_positive_rate": flags["clean_test"],
        "true_positive_rate": flags["poisoned_test"],
    }
    named = {"B": "baseline", "B′": "repaired", "GoodNet": "goodnet"}
    return {
        name: _figures(
            {field: repaired[key]["intervals"][called] for field, called in NAMES.items()}
            | (guarded if key == "goodnet" else {})
        )
        for name, key in named.items()
    }


def _figures(shares: Mapping[str, Record | None]) -> Figures:
    return Figures(
        **{name: None if share is None else Share(**share) for name, share in shares.items()}
    )
