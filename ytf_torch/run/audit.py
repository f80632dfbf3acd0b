"""The audit of a network from an untrusted source: convert, scan, repair, calibrate a detector,
export. Each step is the flow of its own command, and is stored when it is finished."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from ytf_torch.convert.export import Subject, export
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.convert.keras.keras_oracle import KerasParity, compare_with_keras
from ytf_torch.convert.model_file import is_keras
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.defences.duration import expected_seconds
from ytf_torch.defences.names import RECOMMENDED, RECOMMENDED_REPAIR
from ytf_torch.device import resolve_device
from ytf_torch.errors import InputError, printable
from ytf_torch.images.image_set import ImageSets
from ytf_torch.metrics import Share
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ytf_torch.progress import Track, untracked
from ytf_torch.report.audit.audit_page import audit_html
from ytf_torch.report.audit.audit_record import audit_record
from ytf_torch.report.conversion_record import conversion_record
from ytf_torch.report.repair.repair_verdict import is_unfit, judge_repair
from ytf_torch.run.audit_settings import AuditSettings
from ytf_torch.run.compared_repair import why_no_repair
from ytf_torch.run.detect import alarm_of, open_detection
from ytf_torch.run.detection_rule import detection_rule
from ytf_torch.run.finished import write_report
from ytf_torch.run.inputs import audit_inputs
from ytf_torch.run.learning import check_learning, open_learned
from ytf_torch.run.pair import Opened, name_of, scale_doubts
from ytf_torch.run.repair import repair
from ytf_torch.run.repair_settings import MODEL_FILE, MeasuredInputs, RepairSettings
from ytf_torch.run.resume import work_folder
from ytf_torch.run.scan import scan
from ytf_torch.run.steps import Step, step

CONVERTED, CONVERSION = "model.safetensors", "convert.json"
NO_REPAIRED = "there is no repaired network that is fit for use"


@dataclass(frozen=True)
class Commands:
    """What the reports quote: the commands that repeat the audit and the repair alone, and the name
    of the audit's output folder."""

    audit: str
    repair: str
    folder: str


def expected_seconds_of_audit(settings: AuditSettings, opened: Opened, sets: ImageSets) -> float:
    """The estimated duration of the audit in seconds, if no step is finished yet."""
    network, images = opened.badnet.model, len(sets.clean_valid)
    scans, _ = _possible_scans(settings, opened, sets)
    return expected_seconds(network, [RECOMMENDED_REPAIR], images, scans)


def audit(
    settings: AuditSettings,
    opened: Opened,
    sets: ImageSets,
    commands: Commands,
    *,
    resume: bool = False,
    overwrite: bool = False,
    track: Track = untracked,
) -> dict[str, Any] | None:
    """Run all steps and write the output folder: a subfolder per step, result.json, report.html.

    opened, sets: see open_repair. resume, overwrite: see work_folder.
    Returns the content of result.json; None where `resume` finds this audit finished.
    Raises InputError where a file cannot be read, OutputError where one cannot be written.
    """
    inputs = audit_inputs(opened.badnet, sets, settings, resolve_device(settings.device))
    with work_folder(settings.out, inputs, resume=resume, overwrite=overwrite) as work:
        if work.finished:
            return None
        done = track("steps", 5, "steps")
        steps: dict[str, Step] = {}

        def add(name: str, make: Callable[[Path], Mapping[str, Any]]) -> None:
            steps[name] = step(work, name, make)
            done(1)

        add("convert", partial(_convert, settings, opened, commands.folder))
        if not steps["convert"].record.get("failed"):
            add("scan", partial(_scan, settings, opened, sets, track=track))
            add("repair", partial(_repair, settings, opened, sets, commands.repair, track=track))
            repaired = _repaired(steps["repair"])
            add("detect", partial(_detect, settings, opened, sets, repaired, track=track))
            add("use", partial(_use, opened, repaired, steps["repair"].record))
        records = {name: finished_step.record for name, finished_step in steps.items()}
        model = settings.model
        title = str(model) if isinstance(model, Path) else opened.badnet.provenance.source_file
        record = audit_record(opened.badnet, sets, records, opened.doubts, title, commands.folder)
        work.finish(partial(_write, steps, record, commands.audit))
    return record


def _write(steps: Mapping[str, Step], record: dict[str, Any], command: str, folder: Path) -> None:
    for name, finished_step in steps.items():
        finished_step.write(folder / name)
    write_report(folder, record, audit_html(record, command))


def _convert(settings: AuditSettings, opened: Opened, called: str, folder: Path) -> dict[str, Any]:
    """Convert the network, and compare it with real Keras, if installed and safe for this file.

    called: the name of OUT. Where parity fails, the record has `failed` and no network is written,
    as by ytf-convert.
    """
    model = settings.model
    if not isinstance(model, Path) or not is_keras(model):
        return {"not_done": "the network was given converted, so there is no Keras file to compare"}
    file = read_keras_file(model)
    checkpoint = keras_checkpoint(file, opened.badnet.provenance.preprocessing)
    verdicts: dict[str, KerasParity] = {}
    outcome: dict[str, Any] = {
        "format": file.format,
        "bytes": model.stat().st_size,
        "failed": False,
    }
    try:
        verdict = compare_with_keras(checkpoint.model, model)
    except InputError as error:
        _, problem, remedy = error.args
        reason = InputError("Keras", problem, remedy).line().removeprefix("Keras: ")
        outcome["no_parity"] = reason
    else:
        verdicts["real Keras"] = verdict
        outcome["failed"] = not verdict.held
        outcome["parity"] = {
            "by": verdict.keras_version,
            "agreeing": asdict(Share.of(verdict.logits.agreeing, verdict.logits.images)),
            "layers": len(verdict.layers),
            "largest_difference": verdict.logits.largest_difference,
            "largest_logit": verdict.logits.largest_logit,
            "failures": list(verdict.failures),
        }
    folder.mkdir()
    target = None if outcome["failed"] else Path(called, folder.name, CONVERTED)
    record = conversion_record(file, checkpoint, verdicts, target)
    text = json.dumps(record, indent=1) + "\n"
    (folder / CONVERSION).write_text(text, encoding="utf-8")
    if not outcome["failed"]:
        save_checkpoint(checkpoint, folder / CONVERTED)
    return outcome


def _possible_scans(
    settings: AuditSettings, opened: Opened, sets: ImageSets
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The scans that can be run on this network, and the reason for each that cannot."""
    reasons: dict[str, str] = {}
    for name in settings.scans:
        try:
            check_learning(opened.badnet.model, sets.clean_valid, [name])
        except InputError as error:
            where, problem, _ = error.args
            reasons[name] = InputError(where, problem).line()
    return tuple(name for name in settings.scans if name not in reasons), reasons


def _scan(
    settings: AuditSettings, opened: Opened, sets: ImageSets, folder: Path, *, track: Track
) -> dict[str, Any]:
    names, reasons = _possible_scans(settings, opened, sets)
    if not names:
        return {"not_done": "; ".join(reasons.values()) or "no scan was asked for"}
    model = settings.model
    network = opened.badnet.model
    # As ytf-scan would warn, which sees only the network and the clean images.
    network_doubts = scale_doubts(opened.badnet, model, name_of(model, "model"), opened.scale_from)
    _, doubts = open_learned(network, sets.clean_valid, names)
    title = model.name if isinstance(model, Path) else opened.badnet.provenance.source_file
    warnings = (*network_doubts, *map(str, doubts))
    outcome = scan(network, sets.clean_valid, folder, printable(title), names, warnings, track)
    return {
        "candidates": list(outcome.candidates),
        "scans": {
            name: {"candidates": list(suspicions.candidates), "threshold": suspicions.threshold}
            for name, suspicions in outcome.suspicions.items()
        },
        "left_out": reasons,
    }


def _repair(
    settings: AuditSettings,
    opened: Opened,
    sets: ImageSets,
    command: str,
    folder: Path,
    *,
    track: Track,
) -> dict[str, Any]:
    values = {field.name: getattr(settings, field.name) for field in fields(MeasuredInputs)}
    repair_settings = RepairSettings(**values | {"out": folder})
    try:
        outcome = repair(repair_settings, opened, sets, command, track)
    except Exception as error:
        reason = why_no_repair(error, sets)
        if reason is None:
            raise
        return {"not_done": reason}
    result = json.loads((folder / "result.json").read_bytes())
    keys = ("method", "seed", "seconds", "counts", "baseline", "repaired", "goodnet", "pairs")
    figures = outcome.evaluation.goodnet
    assert figures is not None
    flagged = {
        "clean_valid": figures.clean_valid_flagged,
        "clean_test": figures.false_positive_rate,
        "poisoned_test": figures.true_positive_rate,
    }
    return {
        **{name: result[name] for name in keys},
        "goodnet_flags": {name: share and asdict(share) for name, share in flagged.items()},
        "detectors": {
            name: [asdict(alarm) for alarm in alarms.at]
            for name, alarms in outcome.detectors.items()
        },
        "verdict": asdict(judge_repair(outcome)),
        "unfit": is_unfit(outcome),
    }


def _repaired(repair_step: Step) -> Checkpoint | None:
    """The repair step's B′; None if there is none, or it is unfit for use."""
    if MODEL_FILE not in repair_step.files or repair_step.record["unfit"]:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL_FILE
        path.write_bytes(repair_step.files[MODEL_FILE])
        return load_checkpoint(path)


def _detect(
    settings: AuditSettings,
    opened: Opened,
    sets: ImageSets,
    repaired: Checkpoint | None,
    folder: Path,
    *,
    track: Track,
) -> dict[str, Any]:
    """Calibrate the recommended detector. Writes no folder, as ytf-detect writes none."""
    if repaired is None:
        return {"not_done": NO_REPAIRED}
    rule = detection_rule(RECOMMENDED, sets.clean_valid, None)
    assert rule is not None
    detection = open_detection(opened.badnet, repaired, rule, device=settings.device)
    alarm = alarm_of(detection, track)
    assert alarm is not None
    assert alarm.clean_valid_flagged is not None
    return {
        "detector": rule.detector,
        "nominal": rule.false_positives,
        "threshold": alarm.threshold,
        "clean_valid_flagged": asdict(alarm.clean_valid_flagged),
    }


def _use(
    opened: Opened, repaired: Checkpoint | None, repair_record: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """Export B′ and the GoodNet of B and B′, in the file format of B."""
    if repaired is None:
        return {"not_done": NO_REPAIRED, "files": {}, "failed": False}
    folder.mkdir()
    source = opened.badnet.provenance.source_file.lower()
    suffix = ".keras" if source.endswith(".keras") else ".h5"
    badnet = Checkpoint(opened.badnet.model.cpu(), opened.badnet.provenance)
    subjects = {
        f"repaired{suffix}": Subject(repaired.model.cpu(), repaired),
        f"goodnet{suffix}": Subject(GoodNet(badnet.model, repaired.model), badnet, repaired),
    }
    files: dict[str, Any] = {}
    for name, subject in subjects.items():
        try:
            exported = export(subject, folder / name)
        except InputError as error:
            files[name] = {"written": False, "why": error.line()}
            continue
        files[name] = {
            "written": exported.held,
            "why": "; ".join(exported.failures),
            "checks": [
                {"by": one.by, "agreeing": asdict(Share.of(one.agreeing, one.images))}
                for one in exported.checks
            ],
        }
    failed = any(one["why"] and "checks" in one for one in files.values())
    return {"files": files, "failed": failed}
