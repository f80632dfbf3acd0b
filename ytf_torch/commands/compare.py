"""ytf-compare: apply several repairs to one network and compare them in a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from ytf_torch.commands.networks import introduce
from ytf_torch.commands.options import (
    Device,
    PixelScale,
    PreprocessingOption,
    Target,
    TriggeredSets,
    TriggeredValidation,
    listed,
    shell_command,
)
from ytf_torch.commands.repair import shared_options
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import App, one_line_errors, out, progress_bars, say
from ytf_torch.defences.names import RECOMMENDED, every, name_of_method, repair_called
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.run.repair_settings import CompareSettings, check_comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ytf_torch.images.image_set import ImageSets
    from ytf_torch.network.module import Network
    from ytf_torch.report.compare.comparison import MethodRow, Record

app = App()
METHODS = ", ".join((RECOMMENDED, *every("repair")))


@app.command("compare")
def compare_command(
    model: Annotated[Path, typer.Option(help="BadNet B: a Keras file or a converted model.")],
    clean_valid: Annotated[
        Path, typer.Option(help="Clean validation faces; all that the repairs may see.")
    ],
    out_folder: Annotated[
        Path, typer.Option("--out", help="Folder to write; must not exist, but see --overwrite.")
    ],
    clean_test: Annotated[
        Path | None, typer.Option(help="Clean test faces, to measure what a repair costs.")
    ] = None,
    poisoned_test: TriggeredSets = None,
    target: Target = None,
    methods: Annotated[
        str,
        typer.Option(help=f"all, or some of {METHODS}, separated by commas."),
    ] = "all",
    seeds: Annotated[int, typer.Option(help="Runs of each method, with different seeds.")] = 1,
    clean_control: Annotated[
        Path | None,
        typer.Option(help="A network without a backdoor, to measure what each method costs."),
    ] = None,
    relearning: Annotated[
        bool,
        typer.Option(
            "--relearning",
            help="Measure whether backdoors come back: each repaired network is trained on with a "
            "few triggered faces, and so is a network that never had the backdoor and was repaired "
            "alike. Costs two more repairs for each method.",
        ),
    ] = False,
    poisoned_valid: TriggeredValidation = None,
    pixel_scale: PixelScale = None,
    preprocessing: PreprocessingOption = None,
    device: Device = "auto",
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Resume an interrupted comparison into --out."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a finished comparison in --out.")
    ] = False,
) -> None:
    """Compare repairs of a backdoored network: what each costs, and what it leaves of the attack.

    The folder holds comparison.csv, comparison.json and report.html. It takes a minute or more for
    each method and seed, one on each core; --resume continues an interrupted comparison.
    """
    with one_line_errors(when_stopped="Go on with --resume"):
        settings = CompareSettings(
            model=model,
            clean_valid=clean_valid,
            out=out_folder,
            clean_test=clean_test,
            poisoned_test=tuple(poisoned_test or ()),
            target=target,
            device=device,
            preprocessing=asked_preprocessing(pixel_scale, preprocessing),
            methods=every("repair")
            if methods == "all"
            else tuple(map(repair_called, listed(methods))),
            seeds=seeds,
            clean_control=clean_control,
            relearning=relearning,
            poisoned_valid=tuple(poisoned_valid or ()),
        )
        check_comparison(settings)
        from ytf_torch.run.compare import compare, open_control
        from ytf_torch.run.repair import open_repair
        from ytf_torch.run.resume import check_out_may_be_used

        check_out_may_be_used(settings.out, resume=resume, overwrite=overwrite)
        opened, sets = open_repair(settings)
        control = open_control(settings, opened, sets.clean_valid)
        if control is not None:
            opened = opened.doubted(control.doubts)
        introduce(opened)
        say(expectation(settings, opened.badnet.model, sets))
        with progress_bars() as track:
            records = compare(
                settings,
                opened,
                sets,
                None if control is None else control.badnet,
                command_line(settings),
                resume=resume,
                overwrite=overwrite,
                track=track,
            )
        if records is None:
            say(f"{out_folder} already holds this comparison, finished.")
            return
        print_records(records)
        say(f"Report: {out_folder / 'report.html'}")


def expectation(settings: CompareSettings, network: Network, sets: ImageSets) -> str:
    """How many repairs there are, and about how long they take, in one sentence."""
    from ytf_torch.defences.duration import duration, expected_seconds, faces_of_detectors
    from ytf_torch.run.comparison_plan import plan_of
    from ytf_torch.run.side_by_side import repairs_at_once, threads_of_a_repair

    plan = plan_of(settings)
    repairs = [name_of_method(cell.method) for cell in plan.cells]
    # The repair that detectors are measured with comes first.
    repairs.insert(0, repairs.pop(plan.measured))
    at_once = repairs_at_once(settings)
    images, measured = len(sets.clean_valid), sum(map(len, sets.measured))
    relearned = len(settings.names) if settings.relearning else 0
    # Relearning repairs B once more with each method, and the clean twin, one after another.
    afterwards = settings.names * 2 if settings.relearning else ()
    with threads_of_a_repair(settings):
        seconds = expected_seconds(
            network,
            repairs,
            images,
            at_once=at_once,
            relearned=relearned,
            afterwards=afterwards,
            detecting=faces_of_detectors(every("detector"), images, measured),
        )
    count = len(repairs) + len(afterwards)
    number_of_repairs = "1 repair" if count == 1 else f"{count} repairs"
    number_of_repairs += f", {at_once} at a time" if at_once > 1 else ""
    return f"{number_of_repairs}: {duration(seconds)} on this machine, if none is done yet"


def command_line(settings: CompareSettings) -> str:
    """The shell command that repeats a comparison, one option per line."""
    options = shared_options(settings)
    options += [("--methods", ",".join(settings.names)), ("--seeds", settings.seeds)]
    if settings.clean_control is not None:
        options.append(("--clean-control", settings.clean_control))
    options += [("--relearning", "")] if settings.relearning else []
    options += [("--poisoned-valid", path) for path in settings.poisoned_valid]
    return shell_command("ytf-compare", options)


def print_records(records: Sequence[Record]) -> None:
    """Print which methods succeed, the table, what comes back, and which repairs are missing."""
    from ytf_torch.report.compare.comparison import method_rows
    from ytf_torch.report.compare.comparison_page import headline
    from ytf_torch.report.relearning import findings

    rows = method_rows(records, {})
    say(headline(rows))
    print_rows(rows)
    for line in findings(records):
        say(line)
    for line in (line for row in rows for line in row.failed):
        say(f"Not made: {line}")


def print_rows(rows: Sequence[MethodRow]) -> None:
    """Print the table of medians by method."""
    table = Table("method", title="Repairs compared, medians over seeds")
    shown = {
        "points lost": "points_lost",
        "ASR": "attack_success_rate",
        "ASR without target": "attack_success_rate_without_target",
        "clean to target": "clean_target_rate",
        "robust accuracy": "robust_accuracy",
        "seconds": "seconds",
    }
    for column in shown:
        table.add_column(column, justify="right")
    for row in rows:
        values = (row.figures[name] for name in shown.values())
        table.add_row(row.method, *("–" if v is None else f"{v:.2f}" for v in values))
    out.print(table)


if __name__ == "__main__":
    start("compare")
