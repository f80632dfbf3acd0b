"""result.json of an audit: the network, each step's result, and the findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from ytf_torch.images.image_set import ImageSets
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.provenance import Provenance
from ytf_torch.report.audit.audit_findings import failed, findings

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
        "model": TypeAdapter(Provenance).dump_python(checkpoint.provenance, mode="json"),
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
