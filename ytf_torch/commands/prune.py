"""ytf-prune: run the pruning defence and write its run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ytf_torch.commands.networks import pixel_scale_line
from ytf_torch.commands.options import (
    PreprocessingOption,
    Target,
    TriggeredSets,
    as_option,
    shell_command,
)
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import App, one_line_errors, progress_bars, say
from ytf_torch.disk.confined import start_reader
from ytf_torch.disk.reading import checked_file, checked_source
from ytf_torch.distributed import is_first
from ytf_torch.network.preprocessing import preprocessing_of
from ytf_torch.run.configs import config_file, known_configs
from ytf_torch.run.settings import READING, PruneSettings, read_settings

if TYPE_CHECKING:
    from ytf_torch.report.prune.prune_record import Run

app = App()


def _default(setting: str) -> str:
    return str(PruneSettings.model_fields[setting].default)


@app.command()
def prune(
    model: Annotated[
        Path | None,
        typer.Option(help="BadNet B: a safetensors file of ytf-convert, or a Keras file."),
    ] = None,
    clean_valid: Annotated[
        Path | None,
        typer.Option(help="Clean validation images (HDF5, .npz or folder); only this set decides."),
    ] = None,
    clean_test: Annotated[Path | None, typer.Option(help="Clean test faces.")] = None,
    poisoned_test: TriggeredSets = None,
    target: Target = None,
    drops: Annotated[
        str | None,
        typer.Option(help="Points of clean validation accuracy to give up.", show_default="2,4,10"),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="Layer whose channels are pruned; any other name lists the network's own.",
            show_default="the last convolution that everything passes",
        ),
    ] = None,
    rank_at: Annotated[
        str | None,
        typer.Option(
            help="Output at which channels are ranked: the layer's or one behind it.",
            show_default="the output of its pool",
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            help="ascending: the least active channels go first, as published; or descending.",
            show_default=_default("order"),
        ),
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
    preprocessing: PreprocessingOption = None,
    keras: Annotated[
        bool,
        typer.Option("--keras", help="Write the repaired networks as Keras .h5 files as well."),
    ] = False,
    pdf: Annotated[
        bool,
        typer.Option("--pdf", help="Write table.pdf as well: two pages, the table and the plot."),
    ] = False,
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", help="Run folder to write; must not exist, but see --overwrite."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help=f"Settings file, or one of ours by name: {', '.join(known_configs())}; "
            "flags win over it."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Resume an interrupted run into --out, if there is one."),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a finished run in --out once this one is complete; discard an "
            "interrupted run's results, unless --resume continues it.",
        ),
    ] = False,
) -> None:
    """Prune a BadNet's backdoor and build the GoodNet, with every figure of the sweep.

    Channels of a convolution (DeepID: conv_3) are ranked by mean activation on clean validation
    images and masked one by one; the model at the first step that loses 2, 4 and 10 points of
    accuracy is kept.
    """
    flags = {
        "model": model,
        "clean_valid": clean_valid,
        "clean_test": clean_test,
        "poisoned_test": poisoned_test,
        "target": target,
        "drops": drops,
        "layer": layer,
        "rank_at": rank_at,
        "order": order,
        "device": device,
        "engine": engine,
        "precision": precision,
        "pixel_scale": pixel_scale,
        "preprocessing": preprocessing,
        "keras": keras or None,
        "pdf": pdf or None,
        "out": out_folder,
    }
    with one_line_errors(when_stopped="Go on with --resume"):
        config = None if config is None else config_file(config)
        settings = read_settings(config, flags)
        for file in settings.files:
            checked_source(file)
        checked_file(settings.model)
        from ytf_torch.run.places import check_inputs_are_elsewhere

        check_inputs_are_elsewhere(settings.out, [] if config is None else [config])
        start_reader("hdf5_reader")  # the process starts up while this one imports PyTorch
        run_prune(settings, resume=resume, overwrite=overwrite)


def run_prune(
    settings: PruneSettings, *, resume: bool = False, overwrite: bool = False
) -> Run | None:
    """Run the defence and print its results.

    resume, overwrite: see work_folder. Of several processes, the first prints.
    Returns None where `resume` finds this run finished already.
    Raises InputError, and ProcessLostError where another process ended early.
    """
    from ytf_torch.commands.figures import print_run
    from ytf_torch.convert.model_file import tells_pixel_scale
    from ytf_torch.run.prune import defend

    with progress_bars() as track:
        run = defend(
            settings, command_line(settings), resume=resume, overwrite=overwrite, track=track
        )
    if is_first():
        if run is None:
            say(f"{settings.out} already holds this run, finished.")
        else:
            if settings.asked is None and not tells_pixel_scale(settings.model):
                say(pixel_scale_line(run.checkpoint, "assumed"))
            print_run(run, settings.out)
    return run


def command_line(settings: PruneSettings) -> str:
    """The shell command that repeats a run, one option per line, without defaults. NEW stands for
    a new folder."""
    options: list[tuple[str, object]] = []
    for name, field in PruneSettings.model_fields.items():
        value = getattr(settings, name)
        if name == "out" or value == field.get_default():
            continue
        flag = f"--{name.replace('_', '-')}"
        if name == "drops":
            options.append((flag, ",".join(value)))
        elif name in READING:
            options.append(as_option(preprocessing_of(value)))
        elif value is True:
            options.append((flag, ""))
        else:
            values = value if isinstance(value, tuple) else (value,)
            options += [(flag, item) for item in values]
    return shell_command("ytf-prune", options)


if __name__ == "__main__":
    start("prune")
