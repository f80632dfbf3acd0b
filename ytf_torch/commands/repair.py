"""ytf-repair: repair a backdoored network and measure the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ytf_torch.commands.networks import introduce
from ytf_torch.commands.options import (
    Device,
    PixelScale,
    PreprocessingOption,
    Target,
    TriggeredSets,
    TriggeredValidation,
    as_option,
    shell_command,
)
from ytf_torch.commands.pairs import print_pairs
from ytf_torch.commands.rates import HEADINGS, legend, measured, rates_table
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import App, out, progress_bars, say
from ytf_torch.defences.names import (
    RECOMMENDED,
    RECOMMENDED_REPAIR,
    REPAIRS,
    every,
    name_of_method,
    repair_called,
)
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.run.repair_settings import (
    MODEL_FILE,
    MeasuredInputs,
    RepairSettings,
    check_settings,
)

if TYPE_CHECKING:
    from ytf_torch.defences.repairing import RepairOutcome
    from ytf_torch.metrics import Share
    from ytf_torch.report.verdict import Verdict

app = App()
NO = 1
METHODS = ", ".join((RECOMMENDED, *every("repair")))


@app.command("repair")
def repair_command(
    model: Annotated[Path, typer.Option(help="BadNet B: a Keras file or a converted model.")],
    clean_valid: Annotated[
        Path, typer.Option(help="Clean validation faces; all that the repair may see.")
    ],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to write; must not exist.")],
    clean_test: Annotated[
        Path | None, typer.Option(help="Clean test faces, to measure what the repair costs.")
    ] = None,
    poisoned_test: TriggeredSets = None,
    poisoned_valid: TriggeredValidation = None,
    target: Target = None,
    method: Annotated[str, typer.Option(help=f"One of {METHODS}.")] = RECOMMENDED_REPAIR,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Equal seeds give equal networks.")
    ] = 0,
    pixel_scale: PixelScale = None,
    preprocessing: PreprocessingOption = None,
    device: Device = "auto",
) -> None:
    """Repair a backdoored network with clean validation faces alone, and measure the result.

    The folder holds repaired.safetensors, result.json and report.html. Test and triggered faces are
    only measured, never used to choose; without triggered faces nothing is stated about the attack.
    With --poisoned-valid the report also says whether the backdoor comes back when the repaired
    network is trained on with a few triggered faces, next to a network that never had it and was
    repaired alike: to train and repair that one about doubles the time of the recommended repair.
    Exit status 1 if the attack still succeeds on the repaired network, or if this loses more than 4
    points of clean validation accuracy (9 by pruning, which stops at the first step that loses 4)
    or 20 of clean test accuracy, or does not fit the faces that it was trained on.
    """
    settings = RepairSettings(
        model=model,
        clean_valid=clean_valid,
        out=out_folder,
        clean_test=clean_test,
        poisoned_test=tuple(poisoned_test or ()),
        poisoned_valid=tuple(poisoned_valid or ()),
        target=target,
        method=repair_called(method),
        seed=seed,
        device=device,
        preprocessing=asked_preprocessing(pixel_scale, preprocessing),
    )
    check_settings(settings)
    from ytf_torch.defences.duration import duration, expected_seconds
    from ytf_torch.run.repair import open_repair, repair

    opened, sets = open_repair(settings)
    introduce(opened)
    name, faces = name_of_method(settings.method), len(sets.clean_valid)
    is_built_in = name in REPAIRS  # the duration of another package's method is unknown
    repairs = [name] * (1 + settings.relearning) if is_built_in else []
    relearned = int(settings.relearning)
    seconds = expected_seconds(opened.badnet.model, repairs, faces, relearned=relearned)
    say(f"Repair by {name}" + (f": {duration(seconds)} on this machine" if is_built_in else ""))
    with progress_bars() as track:
        outcome = repair(settings, opened, sets, command_line(settings), track)
    from ytf_torch.report.repair.repair_verdict import is_unfit, judge_repair

    verdict = judge_repair(outcome)
    print_repair(outcome, verdict)
    say(f"Repaired network: {out_folder / MODEL_FILE}")
    say(f"Report: {out_folder / 'report.html'}")
    if is_unfit(outcome) or verdict.kind == "failed":
        raise typer.Exit(NO)


def command_line(settings: RepairSettings) -> str:
    """The shell command that repeats a repair, one option per line."""
    options = shared_options(settings)
    options += [("--poisoned-valid", path) for path in settings.poisoned_valid]
    options += [("--method", name_of_method(settings.method)), ("--seed", settings.seed)]
    return shell_command("ytf-repair", options)


def shared_options(settings: MeasuredInputs) -> list[tuple[str, object]]:
    """The options of a network and its image sets, as (flag, value) pairs."""
    options: list[tuple[str, object]] = [
        ("--model", settings.model),
        ("--clean-valid", settings.clean_valid),
    ]
    if settings.clean_test is not None:
        options.append(("--clean-test", settings.clean_test))
    options += [("--poisoned-test", path) for path in settings.poisoned_test]
    if settings.target is not None:
        options.append(("--target", settings.target))
    if settings.preprocessing is not None:
        options.append(as_option(settings.preprocessing))
    return options


def print_repair(outcome: RepairOutcome, verdict: Verdict) -> None:
    """Print the verdict and the table of rates."""
    from ytf_torch.report.relearning import finding, relearning_record

    say(verdict.headline)
    say(verdict.detail)
    if outcome.relearning is not None:
        say(finding(relearning_record(outcome.relearning)))
    evaluation = outcome.evaluation
    shown = measured(evaluation, HEADINGS)
    title = f"Repair by {outcome.method}, {outcome.seconds:.0f} s: figures in percent"
    out.print(rates_table(evaluation, shown, _cell, title=title))
    for line in legend(evaluation, shown):
        say(line)
    if evaluation.pairing is not None:
        print_pairs(evaluation.pairing)
    for name, detector_figures in outcome.detectors.items():
        for rates in detector_figures.at:
            if rates.false_positive_rate and rates.true_positive_rate:
                say(
                    f"Detector {name} at nominal {rates.nominal:g} %: flags "
                    f"{rates.false_positive_rate.rate:.1f} % of clean and "
                    f"{rates.true_positive_rate.rate:.1f} % of triggered faces."
                )


def _cell(share: Share | None) -> str:
    return "–" if share is None else f"{share.rate:.1f}"


if __name__ == "__main__":
    start("repair")
