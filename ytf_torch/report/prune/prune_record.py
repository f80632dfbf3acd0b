"""The records of a pruning run: result.json and trace.csv."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ytf_torch.defences.doubts import Doubt
from ytf_torch.defences.evaluation import Evaluation
from ytf_torch.defences.outcome import Defence
from ytf_torch.images.pairing import Pairing
from ytf_torch.metrics import Figures, rate_of
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.report.rates import not_finite_record
from ytf_torch.report.verdict import judge


@dataclass(frozen=True)
class FaceFiles:
    """The paths of a run's image sets, as the user gave them."""

    clean_valid: Path
    clean_test: Path | None = None
    poisoned_tests: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Run:
    """A finished defence and its inputs.

    command: the command line that repeats it. doubts: warnings about the image sets. keras: whether
    the repaired networks are also written as Keras files. pairings: for each triggered set, the
    clean test image behind each of its images; None without a clean test set. class_names: None
    unless a set records them.
    """

    checkpoint: Checkpoint
    defence: Defence
    device: str
    files: FaceFiles
    command: str
    doubts: tuple[Doubt, ...] = ()
    keras: bool = False
    pairings: tuple[Pairing, ...] | None = field(default=None, compare=False)
    class_names: tuple[str, ...] | None = None


def pruned_file(drop: str) -> str:
    """File name of B′ for a drop."""
    return f"pruned_drop{drop}.safetensors"


def keras_file(drop: str) -> str:
    """File name of B′ for a drop as a Keras file."""
    return f"pruned_drop{drop}.h5"


def _accuracies(figures: Figures) -> dict[str, float | None]:
    return {
        "clean_valid_accuracy": rate_of(figures.clean_valid_accuracy),
        "clean_test_accuracy": rate_of(figures.clean_accuracy),
        "attack_success_rate": rate_of(figures.attack_success_rate),
    }


def _goodnet(figures: Figures) -> dict[str, float | None]:
    return {
        "clean_test_accuracy": rate_of(figures.clean_accuracy),
        "attack_success_rate": rate_of(figures.attack_success_rate),
        "false_positive_rate": rate_of(figures.false_positive_rate),
        "true_positive_rate": rate_of(figures.true_positive_rate),
    }


def _drop_record(run: Run, drop: str, evaluation: Evaluation | None) -> dict[str, Any] | None:
    if evaluation is None:
        return None
    repaired, goodnet = both(evaluation)
    channels = run.defence.channels_of(drop)
    record: dict[str, Any] = {
        "channels_pruned": len(channels),
        "channels": list(channels),
        "file": pruned_file(drop),
        **({"keras_file": keras_file(drop)} if run.keras else {}),
        "repaired": _accuracies(repaired) | not_finite_record(repaired),
        "goodnet": _goodnet(goodnet),
    }
    if len(evaluation.triggered) > 1:
        record["poisoned_tests"] = [
            {"file": str(path), **_set_record(evaluation.of_set(tallies))}
            for path, tallies in zip(run.files.poisoned_tests, evaluation.triggered, strict=True)
        ]
    return record


def _set_record(evaluation: Evaluation) -> dict[str, Any]:
    """The rates on one triggered set."""
    repaired, goodnet = both(evaluation)
    return {
        "repaired": {"attack_success_rate": rate_of(repaired.attack_success_rate)}
        | not_finite_record(repaired),
        "goodnet": {
            "attack_success_rate": rate_of(goodnet.attack_success_rate),
            "true_positive_rate": rate_of(goodnet.true_positive_rate),
        },
    }


def both(evaluation: Evaluation) -> tuple[Figures, Figures]:
    """The figures of B′ and of GoodNet, which must have been evaluated."""
    assert evaluation.repaired is not None
    assert evaluation.goodnet is not None
    return evaluation.repaired, evaluation.goodnet


def result_record(run: Run) -> dict[str, Any]:
    """The content of result.json. Percentages are 0–100 at full precision."""
    defence, provenance = run.defence, run.checkpoint.provenance
    swept, outcome = defence.sweep, defence.outcome
    sets = {
        "clean_valid": defence.clean_valid,
        "clean_test": defence.clean_test,
        "poisoned_test": defence.poisoned_test,
    }
    return {
        "model": provenance.record,
        "layer": swept.layer,
        "rank_at": swept.rank_at,
        **provenance.preprocessing.record,
        "device": run.device,
        "counts": {name: tally and tally.images for name, tally in sets.items()},
        "baseline": _accuracies(outcome.baseline.model) | not_finite_record(outcome.baseline.model),
        "mean_activation": list(swept.mean_activation),
        "order": list(swept.order),
        "steps": [
            {"pruned": step, "channel": channel}
            | _accuracies(repaired)
            | not_finite_record(repaired)
            for step, channel in enumerate(swept.order, start=1)
            for repaired, _ in [both(defence.at(step))]
        ],
        "drops": {
            drop: _drop_record(run, drop, evaluation)
            for drop, evaluation in outcome.candidates.items()
        },
        "verdict": asdict(judge(defence, run.doubts)),
        "direction": swept.direction,
        "warnings": [str(doubt) for doubt in run.doubts],
        "pairs": None if run.pairings is None else [pairing.record for pairing in run.pairings],
        **({} if run.class_names is None else {"class_names": list(run.class_names)}),
    }


def trace_csv(run: Run) -> str:
    """The content of trace.csv: one row per step, including GoodNet's rates; step 0 is B."""
    defence = run.defence
    swept = defence.sweep
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["pruned", "channel", "mean_activation", *_accuracies(defence.at(0).model)]
    header += ["goodnet_clean_test_accuracy", "goodnet_attack_success_rate"]
    writer.writerow([*header, "false_positive_rate", "true_positive_rate"])
    for step in range(len(swept.order) + 1):
        channel = swept.order[step - 1] if step else None
        repaired, goodnet = both(defence.at(step))
        mean = None if channel is None else swept.mean_activation[channel]
        figures = (*_accuracies(repaired).values(), *_goodnet(goodnet).values())
        writer.writerow([step, channel, mean, *figures])
    return text.getvalue()
