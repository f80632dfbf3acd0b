"""ytf-audit: check, repair and export a network from an untrusted source, in one command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ytf_torch.commands.networks import introduce, note_doubts
from ytf_torch.commands.options import (
    Device,
    PixelScale,
    PreprocessingOption,
    Target,
    TriggeredSets,
    listed,
    shell_command,
)
from ytf_torch.commands.repair import shared_options
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import App, answer, note, one_line_errors, progress_bars, say
from ytf_torch.defences.names import RECOMMENDED_REPAIR, SCANS
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.run.audit_settings import AuditSettings, check_audit

app = App()
NO = 1
PARTS = {
    "Known": "known",
    "Not known": "not_known",
    "Next": "next",
    "Not done": "not_done",
}


@app.command("audit")
def audit_command(
    model: Annotated[Path, typer.Argument(help="The network: a Keras file or a converted model.")],
    clean_valid: Annotated[
        Path, typer.Option(help="Clean validation images; all that the repair may see.")
    ],
    out_folder: Annotated[
        Path, typer.Option("--out", help="Folder to write; must not exist, but see --overwrite.")
    ],
    clean_test: Annotated[
        Path | None, typer.Option(help="Clean test images, to measure what the repair costs.")
    ] = None,
    poisoned_test: TriggeredSets = None,
    target: Target = None,
    scans: Annotated[
        str, typer.Option(help=f"all, or some of {', '.join(SCANS)}, separated by commas.")
    ] = "all",
    pixel_scale: PixelScale = None,
    preprocessing: PreprocessingOption = None,
    device: Device = "auto",
    json_record: Annotated[
        bool,
        typer.Option("--json", help="Print result.json on standard output instead of text."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted audit into --out.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a finished audit in --out.")
    ] = False,
) -> None:
    """Audit a network from an untrusted source: convert, scan and repair it, calibrate a detector,
    and export files for use in its place.

    report.html begins with what is known, what is not, and what to do next. The attack is measured
    if triggered images are given; without them nothing is stated about a backdoor. Exit status: 0
    done, 1 the answer is no (parity failed, no repaired network is fit for use, or the attack still
    succeeds on it), 2 bad input.
    """
    with one_line_errors(when_stopped="Go on with --resume"):
        settings = AuditSettings(
            model=model,
            clean_valid=clean_valid,
            out=out_folder,
            clean_test=clean_test,
            poisoned_test=tuple(poisoned_test or ()),
            target=target,
            scans=SCANS if scans == "all" else listed(scans),
            device=device,
            preprocessing=asked_preprocessing(pixel_scale, preprocessing),
        )
        check_audit(settings)
        from ytf_torch.defences.duration import duration
        from ytf_torch.report.audit.audit_record import is_no
        from ytf_torch.run.audit import Commands, audit, expected_seconds_of_audit
        from ytf_torch.run.repair import open_repair
        from ytf_torch.run.resume import check_out_may_be_used

        check_out_may_be_used(settings.out, resume=resume, overwrite=overwrite)
        opened, sets = open_repair(settings)
        (note_doubts if json_record else introduce)(opened)
        seconds = expected_seconds_of_audit(settings, opened, sets)
        estimate = f"Audit: {duration(seconds)} on this machine, if no step is done yet"
        (note if json_record else say)(estimate)
        commands = Commands(command_line(settings), repair_line(settings), str(out_folder))
        with progress_bars() as track:
            record = audit(
                settings, opened, sets, commands, resume=resume, overwrite=overwrite, track=track
            )
        if record is None:
            note(f"{out_folder} already holds this audit, finished.")
            record = json.loads((out_folder / "result.json").read_bytes())
        if json_record:
            answer(json.dumps(record, indent=1))
        else:
            print_audit(record, out_folder)
        if is_no(record):
            raise typer.Exit(NO)


def command_line(settings: AuditSettings) -> str:
    """The shell command that repeats an audit, one option per line."""
    (_, model), *options = shared_options(settings)
    if settings.scans != SCANS:
        options.append(("--scans", ",".join(settings.scans)))
    return shell_command("ytf-audit", [("", model), *options])


def repair_line(settings: AuditSettings) -> str:
    """The shell command that only makes the repair of an audit."""
    options = [*shared_options(settings), ("--method", RECOMMENDED_REPAIR), ("--seed", 0)]
    return shell_command("ytf-repair", options)


def print_audit(record: Mapping[str, Any], folder: Path) -> None:
    """Print what is known, what is not known, what to do next, and what was not done."""
    say(record["headline"])
    for title, key in PARTS.items():
        if record[key]:
            say("")
            say(f"{title}:")
            for line in record[key]:
                say(f"  – {line}")
        if key == "next" and record["command"]:
            for line in record["command"].split("\n"):
                say(f"    {line}")
    say("")
    say(f"Report: {folder / 'report.html'}")


if __name__ == "__main__":
    start("audit")
