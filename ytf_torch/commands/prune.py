"""ytf-prune: the pruning defence, from files to a run folder."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table

from convert.model_file import read_model
from ytf_torch.commands.terminal import one_line_errors, out, progress_bars, say
from ytf_torch.defences.repairs.pruning import FaceSets, run_defence
from ytf_torch.device import resolve_device
from ytf_torch.distributed import (
    check_same,
    gathered,
    is_first,
    process_count,
    process_group,
    together,
)
from ytf_torch.faces.face_set import FaceSet, open_faces
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.report.exhibits import gather_exhibits
from ytf_torch.report.record import Run, result_record
from ytf_torch.run.folder import write_run
from ytf_torch.run.inputs import fingerprint, inputs_record
from ytf_torch.run.settings import PruneSettings, read_settings
from ytf_torch.run.work_folder import WorkFolder, work_folder

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def prune(
    model: Annotated[
        Path | None,
        typer.Option(help="BadNet B: a safetensors file of ytf-convert, or a Keras .h5."),
    ] = None,
    clean_valid: Annotated[
        Path | None,
        typer.Option(help="Clean validation faces (lab-format HDF5); the only set that decides."),
    ] = None,
    clean_test: Annotated[Path | None, typer.Option(help="Clean test faces.")] = None,
    poisoned_test: Annotated[
        list[Path] | None,
        typer.Option(help="Triggered faces labelled with the target; may be given repeatedly."),
    ] = None,
    drops: Annotated[
        str | None,
        typer.Option(help="Points of clean validation accuracy to give up.", show_default="2,4,10"),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Convolution to prune.", show_default="conv_3")
    ] = None,
    rank_at: Annotated[
        str | None,
        typer.Option(help="Output at which channels are ranked.", show_default="pool_3"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="fast, or plain: the whole network at every step, same figures.",
            show_default="fast",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="float32 or float64. Parity with Keras is judged in the model's own; in another, "
            "near ties may fall otherwise. Saved models keep their own.",
            show_default="the model's own",
        ),
    ] = None,
    pixel_scale: Annotated[
        str | None,
        typer.Option(
            help="For a Keras --model: 1 (raw pixels, the lab) or 1/255 (CSAW-2020).",
            show_default="the converted model's, else 1",
        ),
    ] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="Run folder to write; must not exist, but see --overwrite."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings file, see configs/; flags win over it.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on where a run into --out was cut off, if one was."),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a finished run in --out once this one is whole; "
            "drop what one that was cut off has left, unless --resume goes on with it.",
        ),
    ] = False,
) -> None:
    """Prune a BadNet's backdoor and build the GoodNet, with every figure of the sweep.

    Channels of conv_3 are ranked by mean activation on clean validation faces and masked one by
    one; the model at the first step that loses 2, 4 and 10 points of accuracy is kept.
    """
    flags = {
        "model": model,
        "clean_valid": clean_valid,
        "clean_test": clean_test,
        "poisoned_test": poisoned_test,
        "drops": drops,
        "layer": layer,
        "rank_at": rank_at,
        "device": device,
        "engine": engine,
        "precision": precision,
        "pixel_scale": pixel_scale,
        "out": out_folder,
    }
    with one_line_errors(when_stopped="Go on with --resume"):
        run_prune(read_settings(config, flags), resume=resume, overwrite=overwrite)


def run_prune(
    settings: PruneSettings, *, resume: bool = False, overwrite: bool = False
) -> Run | None:
    """Run the defence, write the run folder and print its table; None where `resume` finds this
    very run finished.

    resume, overwrite: see work_folder. Of several processes, each takes a share of the images and
    the first writes and prints.
    Raises InputError, and ProcessLostError where another process ended early.
    """
    device = resolve_device(settings.device)
    with process_group(device), ExitStack() as stack:
        work: WorkFolder | None = None
        with together():
            checkpoint, sets = open_inputs(settings)
        check_same(
            "the model, the face sets or the settings", fingerprint(checkpoint, sets, settings)
        )
        with together():
            if is_first():
                inputs = inputs_record(checkpoint, sets, settings, device)
                place = work_folder(settings.out, inputs, resume=resume, overwrite=overwrite)
                work = stack.enter_context(place)
        if gathered(work is not None and work.finished)[0]:
            if is_first():
                say(f"{settings.out} holds this very run, finished.")
            return None
        precision = checkpoint.model.dtype
        if settings.precision is not None:
            precision = getattr(torch, settings.precision)
        computing = copy.deepcopy(checkpoint.model).to(device, precision)
        with progress_bars() as track:
            defence = run_defence(
                replace(checkpoint, model=computing),
                sets,
                settings.drops,
                settings.layer,
                settings.rank_at,
                settings.engine,
                track,
                work,
            )
        names = tuple(str(path) for path in settings.poisoned_test)
        run = Run(checkpoint, defence, device.type, names)
        if work is not None:
            exhibits = gather_exhibits(computing, sets, defence)
            work.finish(partial(write_run, run, settings, exhibits), processes=process_count())
            print_result(run, settings.out)
    return run


def open_inputs(settings: PruneSettings) -> tuple[Checkpoint, FaceSets]:
    """The model, and the face sets checked against it. Raises InputError."""
    checkpoint = read_model(settings.model, settings.pixel_scale)
    sizes = checkpoint.model.sizes

    def faces(path: Path) -> FaceSet:
        return open_faces(path, sizes.input_shape, sizes.classes)

    sets = FaceSets(
        clean_valid=faces(settings.clean_valid),
        clean_test=None if settings.clean_test is None else faces(settings.clean_test),
        poisoned_tests=tuple(map(faces, settings.poisoned_test)),
    )
    return checkpoint, sets


def print_result(run: Run, folder: Path) -> None:
    """The headline table: baseline, B′ and GoodNet at each drop."""
    result = result_record(run)

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f} %"

    table = Table("model", title=f"Pruning {result['layer']}, ranked at {result['rank_at']}")
    for column in ("pruned", "clean accuracy", "ASR", "FPR", "TPR"):
        table.add_column(column, justify="right", no_wrap=True)

    def row(name: str, pruned: str, figures: dict[str, float | None]) -> None:
        keys = ("clean_test_accuracy", "attack_success_rate")
        rates = (*keys, "false_positive_rate", "true_positive_rate")
        table.add_row(name, pruned, *(percent(figures.get(key)) for key in rates))

    row("BadNet B", "0", result["baseline"])
    for drop, found in result["drops"].items():
        if found is None:
            table.add_row(f"drop {drop}", "never reached")
            continue
        row(f"B′, drop {drop}", str(found["channels_pruned"]), found["repaired"])
        row(f"GoodNet, drop {drop}", str(found["channels_pruned"]), found["goodnet"])
    out.print(table)
    say(f"Report: {folder / 'report.html'}")


if __name__ == "__main__":
    app()
