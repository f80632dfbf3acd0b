"""A comparison of repairs, from its settings to its folder; it goes on where it was cut off."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ytf_torch.convert.model_file import tells_pixel_scale
from ytf_torch.defences.base import Ranking, Repair
from ytf_torch.defences.baseline import clean_accuracy
from ytf_torch.defences.doubts import MOST
from ytf_torch.defences.names import RECOMMENDED_REPAIR, check_loadable, every, name_of_method
from ytf_torch.defences.repairing import repair_and_measure
from ytf_torch.device import resolve_device
from ytf_torch.errors import CannotRepairError, InputError, OutputError, is_out_of_memory
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.progress import Track, untracked
from ytf_torch.report.compare.comparison import (
    Record,
    comparison_csv,
    comparison_record,
    failed_record,
    made,
)
from ytf_torch.report.compare.comparison_page import comparison_html
from ytf_torch.report.repair.repair_record import repair_record
from ytf_torch.run.finished import write_report
from ytf_torch.run.inputs import comparison_record as inputs_record
from ytf_torch.run.learning import check_learning
from ytf_torch.run.pair import Opened, check_same_input, name_of, open_network
from ytf_torch.run.relation import same_weights
from ytf_torch.run.relearning import open_relearning, with_relearning
from ytf_torch.run.repair_settings import CompareSettings
from ytf_torch.run.resume import work_folder
from ytf_torch.run.work_folder import WorkFolder

# No repair has such a seed.
NO_CELL = ("", -1)


def open_control(settings: CompareSettings, opened: Opened, clean_valid: ImageSet) -> Opened | None:
    """The clean control on the device of the comparison, where one was given.

    opened: B, whose preprocessing is taken where only its file tells one.
    Raises InputError where it takes other faces than B, knows other classes, is B itself, or takes
    more memory to learn from than there may be.
    """
    given = settings.clean_control
    if given is None:
        return None
    asked = settings.preprocessing
    untold = isinstance(given, Path) and not tells_pixel_scale(given)
    if asked is None and opened.scale_from == "file" and untold:
        asked = opened.badnet.provenance.preprocessing
    found = open_network(given, asked, "clean_control")
    badnet, control = name_of(settings.model, "model"), name_of(given, "clean_control")
    check_same_input(opened.badnet, found.badnet, badnet, control)
    if same_weights(opened.badnet, found.badnet):
        problem = f"holds the same weights as {badnet}, so it is no control"
        raise InputError(control, problem, "Give a network that was trained without the trigger")
    network = found.badnet.model.to(resolve_device(settings.device))
    check_learning(network, clean_valid, settings.used)
    right = clean_accuracy(network, clean_valid)
    if right >= MOST:
        return found
    doubt = (
        "The clean control does not recognise the clean validation faces: only "
        f"{right:.1f} % get their label."
    )
    return found.doubted([doubt])


def compare(
    settings: CompareSettings,
    opened: Opened,
    sets: ImageSets,
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
    repair, or of the first method where that is not compared; of the next one where it fails.
    A repair that cannot be made has a record that says why, see failed_record.
    Raises InputError where a file cannot be read or written, and where no repair can be made.
    """
    check_loadable("detector")
    device = resolve_device(settings.device)
    inputs = inputs_record(opened.badnet, sets, settings, control, device)
    with work_folder(settings.out, inputs, resume=resume, overwrite=overwrite) as work:
        if work.finished:
            return None
        relearned_from = open_relearning(settings, opened.badnet.model, sets)
        cells = len(settings.methods) * (settings.seeds + (control is not None))
        done = track("repairs", cells, "repairs")
        records, wanted = [], _measured_with(settings)
        for place, method in enumerate(settings.methods):
            name = name_of_method(method)
            for seed in range(settings.seeds):
                measured = wanted is None or (name, seed) == wanted
                detectors = every("detector") if measured else ()
                cell = Cell(f"{_kept_as(name, place)}-{seed}", method, seed, detectors)
                records.append(_record(work, cell, opened.badnet, sets, track))
                if measured:  # with the next one, whatever it is, where this one was not made
                    wanted = None if "failed" in records[-1] else NO_CELL
                done(1)
        if not made(records):
            reasons = "; ".join(f"{record['method']}: {record['failed']}" for record in records)
            raise InputError(settings.model, f"none of the methods can repair it ({reasons})")
        controls: dict[str, Record] = {}
        if control is not None:
            clean = ImageSets(sets.clean_valid, sets.clean_test)
            for place, method in enumerate(settings.methods):
                name = name_of_method(method)
                cell = Cell(
                    f"control-{_kept_as(name, place)}-0", method, 0, (), " on the clean control"
                )
                controls[name] = _record(work, cell, control, clean, track)
                done(1)
        if relearned_from is not None:
            kept = [_kept_as(name, place) for place, name in enumerate(settings.names)]
            methods = list(zip(kept, settings.methods, strict=True))
            given = (opened.badnet.model, sets.clean_valid, relearned_from)
            records = with_relearning(records, methods, given, work, track)
        work.finish(_writer(records, controls, command, opened.doubts))
    return records


@dataclass(frozen=True)
class Cell:
    """One repair of a comparison.

    name: what its record is kept under. network: what it is made of, where that is not B.
    """

    name: str
    method: str | Repair | Ranking
    seed: int
    detectors: Sequence[str]
    network: str = ""


def _kept_as(name: str, place: int) -> str:
    """What the records of a method are kept under: its name, or its place among the methods where
    somebody else has chosen a name that no file of ours has."""
    return name if re.fullmatch("[a-z-]+", name) else f"other-{place}"


def _measured_with(settings: CompareSettings) -> tuple[str, int] | None:
    """The method and seed whose B′ detectors are measured with."""
    recommended = RECOMMENDED_REPAIR in settings.names
    return (RECOMMENDED_REPAIR if recommended else settings.names[0], 0)


def _record(
    work: WorkFolder, cell: Cell, checkpoint: Checkpoint, sets: ImageSets, track: Track
) -> Record:
    """The record of one repair: what an earlier start has kept, or made and kept now. Why there is
    none is not kept: a later start tries again."""
    known, name = work.find_record(cell.name), name_of_method(cell.method)
    if known is not None:
        return known

    def within(phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        return track(f"{name}{cell.network}, seed {cell.seed}: {phase}", total, unit)

    try:
        outcome = repair_and_measure(
            checkpoint.model, sets, cell.method, cell.seed, cell.detectors, within
        )
    except Exception as error:
        reason = why_no_repair(error, sets)
        if reason is None:
            raise
        return failed_record(name, cell.seed, reason)
    record = repair_record(outcome, checkpoint.provenance)
    work.keep_record(cell.name, record)
    return record


def why_no_repair(error: Exception, sets: ImageSets) -> str | None:
    """Why a repair cannot be made; None where the error is not the repair's: a file that cannot be
    read or written, which would be the end of all others too, or a fault of ours."""
    if is_out_of_memory(error):
        return "there is not enough memory for this"
    if isinstance(error, InputError) and not isinstance(error, OutputError):
        where, problem, _ = error.args
        files = tuple(str(faces.path) for faces in sets.every)
        if isinstance(error, CannotRepairError) or not where.startswith(files):
            return InputError(where, problem).line()
    return None


def _writer(
    records: Sequence[Record], controls: dict[str, Record], command: str, warnings: Sequence[str]
) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        found: dict[str, Any] = comparison_record(records, controls, warnings)
        (folder / "comparison.csv").write_text(comparison_csv(records), encoding="utf-8")
        page = comparison_html(records, controls, command, warnings)
        write_report(folder, found, page, "comparison.json")

    return write
