"""result.json of an audit: the network, each step's result, and the findings."""

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
    """The content of an audit's result.json. Percentages are 0–100 at full precision.

    steps: the record of each step by name; after a failed conversion there is only that one.
    model: the name of the audited file. folder: the audit's output folder, for the commands that
    it recommends.
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
            "poisoned_test": [str(images.path) for images in sets.poisoned_tests],
        },
        "warnings": list(warnings),
        "steps": {name: dict(step) for name, step in steps.items()},
    }
    return asdict(findings(record, folder)) | record


def is_no(record: Record) -> bool:
    """Whether the audit failed: no parity with Keras, no repaired network that is fit for use, an
    attack that still succeeds on it, or an exported file that predicts other classes."""
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
