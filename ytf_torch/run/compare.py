"""A comparison of repairs, from its settings to its folder; it goes on where it was cut off."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ytf_torch.convert.model_file import tells_pixel_scale
from ytf_torch.defences.baseline import clean_accuracy
from ytf_torch.defences.doubts import MOST
from ytf_torch.defences.names import check_loadable
from ytf_torch.device import resolve_device
from ytf_torch.errors import InputError
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.progress import Track, untracked
from ytf_torch.report.compare.comparison import (
    Record,
    comparison_csv,
    comparison_record,
    doubted,
)
from ytf_torch.report.compare.comparison_page import comparison_html
from ytf_torch.run.compared_repair import Cell, Subjects, one_after_another
from ytf_torch.run.comparison_plan import Plan, plan_of, stored_as
from ytf_torch.run.finished import write_report
from ytf_torch.run.inputs import comparison_record as inputs_record
from ytf_torch.run.learning import check_learning
from ytf_torch.run.pair import Opened, check_same_input, name_of, open_network
from ytf_torch.run.relation import same_weights
from ytf_torch.run.relearning import open_relearning, with_relearning
from ytf_torch.run.repair_settings import CompareSettings
from ytf_torch.run.resume import work_folder
from ytf_torch.run.side_by_side import (
    job_of,
    repairs_at_once,
    side_by_side,
    threads_of_a_repair,
)
from ytf_torch.run.work_folder import WorkFolder


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

    resume, overwrite: see work_folder. Repairs run at the same time where cores are idle, see
    side_by_side.py. Detectors are measured once, see Plan.
    A repair that cannot be made has a record that says why, see failed_record.
    Raises InputError where a file cannot be read or written, and where no repair can be made.
    """
    check_loadable("detector")
    device = resolve_device(settings.device)
    inputs = inputs_record(opened.badnet, sets, settings, control, device)
    at_once = repairs_at_once(settings)
    with (
        work_folder(settings.out, inputs, resume=resume, overwrite=overwrite) as work,
        threads_of_a_repair(settings),
    ):
        if work.finished:
            return None
        relearned_from = open_relearning(settings, opened.badnet.model, sets)
        plan, subjects = plan_of(settings), Subjects(opened.badnet, control, sets)
        done = track("repairs", len(plan.cells), "repairs")
        for cell in plan.cells:
            record = work.find_record(cell.name)
            if record is not None:
                plan.records[cell.name] = record
                done(1)
        at_once = min(at_once, len(plan.cells) - len(plan.records))
        if at_once > 1:
            plan.start_longest_first(len(sets.clean_valid), opened.badnet.model.classes)
            job = job_of(settings, subjects, work.inputs)
            made_repairs = side_by_side(plan.next_cell, job, at_once, track)
        else:
            made_repairs = one_after_another(plan.next_cell, subjects, track)
        _make_all(plan, work, made_repairs, done, settings.model)
        records = doubted(plan.of_badnet, opened.grave)
        if relearned_from is not None:
            kept = [stored_as(name, index) for index, name in enumerate(settings.names)]
            methods = list(zip(kept, settings.methods, strict=True))
            given = (opened.badnet.model, sets.clean_valid, relearned_from)
            records = with_relearning(records, methods, given, work, track)
        work.finish(_writer(records, plan.of_control, command, opened.doubts))
    return records


def _make_all(
    plan: Plan,
    work: WorkFolder,
    made_repairs: Generator[tuple[Cell, Record], None, None],
    done: Callable[[int], None],
    model: object,
) -> None:
    """Store the record of each repair as it is finished. Why one cannot be made is not stored: a
    resumed comparison tries it again. Raises InputError where no repair of B can be made."""
    with closing(made_repairs):  # ends its workers, even if this is interrupted
        for cell, record in made_repairs:
            if "failed" not in record:
                work.keep_record(cell.name, record)
            if cell.name not in plan.records:
                done(1)
            plan.records[cell.name] = record
            if plan.nothing_can_be_made:
                reasons = "; ".join(f"{one['method']}: {one['failed']}" for one in plan.of_badnet)
                raise InputError(model, f"none of the methods can repair it ({reasons})")


def _writer(
    records: Sequence[Record], controls: dict[str, Record], command: str, warnings: Sequence[str]
) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        found: dict[str, Any] = comparison_record(records, controls, warnings)
        (folder / "comparison.csv").write_text(comparison_csv(records), encoding="utf-8")
        page = comparison_html(records, controls, command, warnings)
        write_report(folder, found, page, "comparison.json")

    return write
