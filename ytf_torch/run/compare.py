"""A comparison of repairs, from its settings to its folder; it goes on where it was cut off."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ytf_torch.defences.names import DETECTORS, RECOMMENDED_REPAIR
from ytf_torch.defences.repairing import repair_and_measure
from ytf_torch.device import resolve_device
from ytf_torch.faces.face_set import FaceSets
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.progress import Track, untracked
from ytf_torch.report.comparison import Record, comparison_csv, comparison_record
from ytf_torch.report.comparison_page import comparison_html
from ytf_torch.report.repair_record import repair_record
from ytf_torch.run.inputs import comparison_record as inputs_record
from ytf_torch.run.pair import Opened, open_network
from ytf_torch.run.repair_settings import CompareSettings
from ytf_torch.run.resume import work_folder
from ytf_torch.run.work_folder import WorkFolder


def open_control(settings: CompareSettings) -> Checkpoint | None:
    """The clean control on the device of the comparison, where one was given. Raises InputError."""
    if settings.clean_control is None:
        return None
    control = open_network(settings.clean_control, settings.pixel_scale).badnet
    control.model.to(resolve_device(settings.device))
    return control


def compare(
    settings: CompareSettings,
    opened: Opened,
    sets: FaceSets,
    control: Checkpoint | None,
    command: str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    track: Track = untracked,
) -> list[Record] | None:
    """Run every method with every seed and write the folder: comparison.json, comparison.csv and
    report.html. The record of every repair; None where `resume` finds this comparison finished.

    resume, overwrite: see work_folder. Detectors are measured once, with the B′ of the recommended
    repair, or of the first method where that is not compared.
    Raises InputError.
    """
    device = resolve_device(settings.device)
    inputs = inputs_record(opened.badnet, sets, settings, control, device)
    with work_folder(settings.out, inputs, resume=resume, overwrite=overwrite) as work:
        if work.finished:
            return None
        done = track("repairs", len(settings.methods) * (settings.seeds + (control is not None)))
        records = []
        for method in settings.methods:
            for seed in range(settings.seeds):
                detectors = DETECTORS if (method, seed) == _measured_with(settings) else ()
                records.append(
                    _cell(work, f"{method}-{seed}", opened.badnet, sets, method, seed, detectors)
                )
                done(1)
        controls: dict[str, Record] = {}
        if control is not None:
            clean = FaceSets(sets.clean_valid, sets.clean_test)
            for method in settings.methods:
                controls[method] = _cell(work, f"control-{method}-0", control, clean, method, 0, ())
                done(1)
        work.finish(_writer(records, controls, command))
    return records


def _measured_with(settings: CompareSettings) -> tuple[str, int]:
    """The method and seed whose B′ detectors are measured with."""
    recommended = RECOMMENDED_REPAIR in settings.methods
    return (RECOMMENDED_REPAIR if recommended else settings.methods[0], 0)


def _cell(
    work: WorkFolder,
    name: str,
    checkpoint: Checkpoint,
    sets: FaceSets,
    method: str,
    seed: int,
    detectors: Sequence[str],
) -> Record:
    """The record of one repair: what an earlier start has kept, or made and kept now."""
    known = work.find_record(name)
    if known is not None:
        return known
    outcome = repair_and_measure(checkpoint.model, sets, method, seed, detectors)
    record = repair_record(outcome, checkpoint.provenance)
    work.keep_record(name, record)
    return record


def _writer(
    records: Sequence[Record], controls: dict[str, Record], command: str
) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        found: dict[str, Any] = comparison_record(records, controls)
        text = json.dumps(found, indent=1, allow_nan=False) + "\n"
        (folder / "comparison.json").write_text(text, encoding="utf-8")
        (folder / "comparison.csv").write_text(comparison_csv(records), encoding="utf-8")
        page = comparison_html(records, controls, command)
        (folder / "report.html").write_bytes(page.encode("utf-8", errors="replace"))

    return write
