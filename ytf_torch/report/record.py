"""The figures of a run: result.json and trace.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ytf_torch.defences.doubts import Doubt
from ytf_torch.defences.outcome import Defence
from ytf_torch.metrics import Tally
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.provenance import Provenance
from ytf_torch.report.verdict import judge


@dataclass(frozen=True)
class FaceFiles:
    """The files of a run's face sets, as they were given."""

    clean_valid: Path
    clean_test: Path | None = None
    poisoned_tests: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Run:
    """A finished defence and what it was run on.

    command: what to type to run it again. doubts: what looks wrong about its face sets.
    keras: whether the repaired networks are written as Keras files as well.
    """

    checkpoint: Checkpoint
    defence: Defence
    device: str
    files: FaceFiles
    command: str
    doubts: tuple[Doubt, ...] = ()
    keras: bool = False


def rate(tally: Tally | None, kind: Callable[[Tally], tuple[int, ...]], step: int) -> float | None:
    """A rate in percent after `step` channels; None where the set was not given."""
    return None if tally is None else tally.rate(kind(tally), step)


def correct(tally: Tally) -> tuple[int, ...]:
    """Counts behind the clean accuracy and the attack success rate."""
    return tally.correct


def goodnet_correct(tally: Tally) -> tuple[int, ...]:
    """Counts behind GoodNet's clean accuracy and attack success rate."""
    return tally.goodnet_correct


def flagged(tally: Tally) -> tuple[int, ...]:
    """Counts behind GoodNet's false and true positive rates."""
    return tally.flagged


def pruned_file(drop: str) -> str:
    """File name of B′ for a drop."""
    return f"pruned_drop{drop}.safetensors"


def keras_file(drop: str) -> str:
    """File name of B′ for a drop as a Keras file."""
    return f"pruned_drop{drop}.h5"


def _accuracies(defence: Defence, step: int) -> dict[str, float | None]:
    return {
        "clean_valid_accuracy": rate(defence.clean_valid, correct, step),
        "clean_test_accuracy": rate(defence.clean_test, correct, step),
        "attack_success_rate": rate(defence.poisoned_test, correct, step),
    }


def _drop_record(run: Run, drop: str) -> dict[str, Any] | None:
    defence = run.defence
    step = defence.drops[drop]
    if step is None:
        return None
    record: dict[str, Any] = {
        "channels_pruned": step,
        "channels": list(defence.channels_of(drop)),
        "file": pruned_file(drop),
        **({"keras_file": keras_file(drop)} if run.keras else {}),
        "repaired": _accuracies(defence, step),
        "goodnet": {
            "clean_test_accuracy": rate(defence.clean_test, goodnet_correct, step),
            "attack_success_rate": rate(defence.poisoned_test, goodnet_correct, step),
            "false_positive_rate": rate(defence.clean_test, flagged, step),
            "true_positive_rate": rate(defence.poisoned_test, flagged, step),
        },
    }
    if len(defence.poisoned_tests) > 1:
        record["poisoned_tests"] = [
            {
                "file": str(path),
                "repaired": {"attack_success_rate": rate(tally, correct, step)},
                "goodnet": {
                    "attack_success_rate": rate(tally, goodnet_correct, step),
                    "true_positive_rate": rate(tally, flagged, step),
                },
            }
            for path, tally in zip(run.files.poisoned_tests, defence.poisoned_tests, strict=True)
        ]
    return record


def result_record(run: Run) -> dict[str, Any]:
    """result.json: every figure of a run. Percentages are 0–100 at full precision."""
    defence, provenance = run.defence, run.checkpoint.provenance
    swept = defence.sweep
    sets = {
        "clean_valid": defence.clean_valid,
        "clean_test": defence.clean_test,
        "poisoned_test": defence.poisoned_test,
    }
    return {
        "model": TypeAdapter(Provenance).dump_python(provenance, mode="json"),
        "layer": swept.layer,
        "rank_at": swept.rank_at,
        "pixel_scale": provenance.pixel_scale,
        "device": run.device,
        "counts": {name: tally and tally.images for name, tally in sets.items()},
        "baseline": _accuracies(defence, 0),
        "mean_activation": list(swept.mean_activation),
        "order": list(swept.order),
        "steps": [
            {"pruned": step, "channel": channel, **_accuracies(defence, step)}
            for step, channel in enumerate(swept.order, start=1)
        ],
        "drops": {drop: _drop_record(run, drop) for drop in defence.drops},
        "verdict": asdict(judge(defence, run.doubts)),
        "direction": swept.direction,
        "warnings": [str(doubt) for doubt in run.doubts],
    }


def trace_csv(run: Run) -> str:
    """trace.csv: one row for each step, GoodNet's figures included; step 0 is the baseline."""
    defence = run.defence
    swept = defence.sweep
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["pruned", "channel", "mean_activation", *_accuracies(defence, 0)]
    goodnet = ("clean_test_accuracy", "attack_success_rate")
    header += [f"goodnet_{name}" for name in goodnet]
    writer.writerow([*header, "false_positive_rate", "true_positive_rate"])
    for step in range(len(swept.order) + 1):
        channel = swept.order[step - 1] if step else None
        writer.writerow(
            [
                step,
                channel,
                None if channel is None else swept.mean_activation[channel],
                *_accuracies(defence, step).values(),
                rate(defence.clean_test, goodnet_correct, step),
                rate(defence.poisoned_test, goodnet_correct, step),
                rate(defence.clean_test, flagged, step),
                rate(defence.poisoned_test, flagged, step),
            ]
        )
    return text.getvalue()
