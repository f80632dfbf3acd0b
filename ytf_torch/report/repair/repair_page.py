"""report.html of a repair."""

from __future__ import annotations

import torch

from ytf_torch.defences.repairing import RepairOutcome
from ytf_torch.network.provenance import Provenance, tool_version
from ytf_torch.report.relearning_shown import relearning_shown
from ytf_torch.report.repair.repair_record import counts, relearning_entry
from ytf_torch.report.repair.repair_verdict import judge_repair
from ytf_torch.report.templates import template


def repair_html(
    outcome: RepairOutcome, provenance: Provenance, command: str, warnings: tuple[str, ...] = ()
) -> str:
    """Render a self-contained page without scripts or external resources.

    provenance: of B. command: the command line that repeats the repair.
    """
    evaluation = outcome.evaluation
    networks = (
        ("B, as it came", evaluation.model),
        ("B′, repaired", evaluation.repaired),
        ("GoodNet of both", evaluation.goodnet),
    )
    return template("repair/repair.html").render(
        verdict=judge_repair(outcome),
        outcome=outcome,
        provenance=provenance,
        counts=counts(outcome),
        networks=networks,
        goodnet=evaluation.goodnet,
        relearning=relearning_shown([{"method": outcome.method, **relearning_entry(outcome)}]),
        warnings=warnings,
        command=command,
        versions={"ytf-torch": tool_version(), "PyTorch": torch.__version__},
    )
