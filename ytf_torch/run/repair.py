"""A repair from its settings to its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from ytf_torch.defences.baseline import check_pixel_scale_by_accuracy
from ytf_torch.defences.repairing import RepairOutcome, repair_and_measure
from ytf_torch.device import resolve_device
from ytf_torch.disk.writing import whole_folder
from ytf_torch.errors import mismatch
from ytf_torch.faces.face_set import FaceSet, FaceSets, open_faces
from ytf_torch.network.checkpoint import save_checkpoint
from ytf_torch.progress import Track, untracked
from ytf_torch.report.repair_page import repair_html
from ytf_torch.report.repair_record import repair_record
from ytf_torch.run.pair import Opened, open_network

MODEL_FILE = "repaired.safetensors"


@dataclass(frozen=True)
class RepairSettings:
    """Everything that decides a repair."""

    model: Path
    clean_valid: Path
    out: Path
    clean_test: Path | None = None
    poisoned_test: tuple[Path, ...] = ()
    method: str = "ft-sam"
    seed: int = 0
    device: str = "auto"
    pixel_scale: float | None = None


def open_repair(settings: RepairSettings) -> tuple[Opened, FaceSets]:
    """The network, and the face sets checked against it. Raises InputError."""
    opened = open_network(settings.model, settings.pixel_scale)
    network = opened.badnet.model

    def faces(path: Path) -> FaceSet:
        return open_faces(path, network.input_shape, network.classes)

    return opened, FaceSets(
        faces(settings.clean_valid),
        None if settings.clean_test is None else faces(settings.clean_test),
        tuple(map(faces, settings.poisoned_test)),
    )


def repair(
    settings: RepairSettings,
    opened: Opened,
    sets: FaceSets,
    command: str,
    track: Track = untracked,
) -> RepairOutcome:
    """Run a repair and write its folder, whole or not at all: repaired.safetensors, result.json and
    report.html.

    opened, sets: see open_repair. command: what the report says to type to repeat it.
    Raises InputError where a method is not known or OUT is taken.
    """
    checkpoint = opened.badnet
    with whole_folder(settings.out) as folder:
        network = checkpoint.model.to(resolve_device(settings.device))
        outcome = repair_and_measure(network, sets, settings.method, settings.seed, track=track)
        baseline = outcome.evaluation.clean_valid
        assert baseline is not None
        check_pixel_scale_by_accuracy(network, sets.clean_valid, baseline)
        save_checkpoint(replace(checkpoint, model=outcome.candidate.network), folder / MODEL_FILE)
        record = repair_record(outcome, checkpoint.provenance, opened.doubts)
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        (folder / "result.json").write_text(text, encoding="utf-8")
        page = repair_html(outcome, checkpoint.provenance, command, opened.doubts)
        (folder / "report.html").write_bytes(page.encode("utf-8", errors="replace"))
    return outcome


def check_method(method: str, known: tuple[str, ...]) -> None:
    """Raises InputError for a method that is not known, with those that are."""
    if method not in known:
        raise mismatch("method", f"one of {', '.join(known)}", method)
