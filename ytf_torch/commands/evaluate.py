"""ytf-evaluate: clean accuracy and attack success rate of a network, alone or with its GoodNet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ytf_torch.commands.networks import note_doubts, pixel_scale_line
from ytf_torch.commands.options import (
    Device,
    PixelScale,
    PreprocessingOption,
    Target,
    TriggeredSets,
)
from ytf_torch.commands.pairs import print_pairs
from ytf_torch.commands.paths import check_paths
from ytf_torch.commands.rates import legend, measured, rates_table
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import (
    App,
    out,
    progress_bars,
    say,
)
from ytf_torch.disk.reading import is_image_set, kind_of
from ytf_torch.disk.writing import whole_file
from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.preprocessing import asked_preprocessing

if TYPE_CHECKING:
    from ytf_torch.defences.evaluation import Evaluation
    from ytf_torch.metrics import Share

RATES = (
    "clean_accuracy",
    "attack_success_rate",
    "attack_success_rate_without_target",
    "robust_accuracy",
    "false_positive_rate",
    "true_positive_rate",
)

app = App()


@app.command("evaluate")
def evaluate_command(
    model: Annotated[Path, typer.Argument(help="A network: a Keras file or a converted model.")],
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Photos, whose classes are printed.")
    ] = None,
    repaired: Annotated[
        Path | None,
        typer.Option(help="B′, a repaired copy of the network: evaluates it and GoodNet too."),
    ] = None,
    clean_test: Annotated[
        Path | None, typer.Option(help="Clean images (HDF5, .npz or folder), or a photo.")
    ] = None,
    poisoned_test: TriggeredSets = None,
    target: Target = None,
    true_labels: Annotated[
        Path | None,
        typer.Option(
            help="Clean face set with the true labels of the triggered faces, matched by photo.",
            show_default="the clean test set",
        ),
    ] = None,
    pixel_scale: PixelScale = None,
    preprocessing: PreprocessingOption = None,
    any_pair: Annotated[
        bool,
        typer.Option("--any-pair", help="Accept a B′ that does not seem to be derived from B."),
    ] = False,
    device: Device = "auto",
    json_report: Annotated[
        Path | None, typer.Option("--json", help="Write every figure to this file.")
    ] = None,
) -> None:
    """Evaluate a network: clean accuracy and attack success rate, each with its 95 % interval.

    With --repaired, also B′ and GoodNet, which flags the faces on which both differ. A photo
    instead of a face set gets its class.
    """
    asked = asked_preprocessing(pixel_scale, preprocessing)
    image_sets = (clean_test, true_labels, *(poisoned_test or ()))
    check_paths([json_report], [model, repaired, *image_sets, *(photos or ())])
    if true_labels is not None and not poisoned_test:
        raise mismatch("--true-labels", "triggered faces with it (--poisoned-test)", "none")
    image_set_paths, photo_paths = _sorted_inputs(clean_test, poisoned_test or [], photos or [])
    if not image_set_paths and not photo_paths:
        raise InputError(
            model, "nothing to evaluate it on", "Give --clean-test, --poisoned-test or a photo"
        )
    clean = clean_test if clean_test in image_set_paths else None
    triggered = image_set_paths[1:] if clean else image_set_paths
    from ytf_torch.report.evaluation_record import evaluation_record
    from ytf_torch.run.evaluate import evaluate, open_evaluation, photo_record

    inputs = open_evaluation(
        model,
        repaired,
        clean,
        triggered,
        target=target,
        true_labels=true_labels,
        asked=asked,
        any_pair=any_pair,
        device=device,
    )
    opened = inputs.opened
    note_doubts(opened)
    answers = [photo_record(inputs.network, inputs.repaired, photo) for photo in photo_paths]
    if opened.scale_from == "assumed":
        say(pixel_scale_line(opened.badnet, "assumed"))
    for answer in answers:
        say(_photo_line(answer))
    record: dict[str, Any] = {"model": str(model), **inputs.network.pixel_preprocessing.record}
    if image_set_paths:
        with progress_bars() as track:
            result = evaluate(inputs, track)
        for doubt in result.doubts:
            say(f"Warning: {doubt}")
        _print_tables(result.evaluation, triggered)
        record |= evaluation_record(result.evaluation, triggered)
        record |= {"warnings": list(map(str, result.doubts))} if result.doubts else {}
    if photo_paths:
        record["photos"] = answers
    if json_report is not None:
        with whole_file(json_report) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _sorted_inputs(
    clean: Path | None, triggered: list[Path], photos: list[Path]
) -> tuple[list[Path], list[Path]]:
    """Separate image sets from photos: a file that is neither HDF5 nor .npz counts as a photo.

    Raises InputError where an image set is given as a photo.
    """
    for path in photos:
        if is_image_set(path):
            remedy = "Give an image set as --clean-test or --poisoned-test"
            found = "a folder" if path.is_dir() else kind_of(path).words
            raise mismatch(path, "a photo", found, remedy)
    sets = [*([] if clean is None else [clean]), *triggered]
    photos_given_as_sets = [path for path in sets if not is_image_set(path)]
    return [path for path in sets if path not in photos_given_as_sets], [
        *photos_given_as_sets,
        *photos,
    ]


def _print_tables(evaluation: Evaluation, files: Sequence[Path]) -> None:
    """Print the measured rates, those of each triggered set if there are several, and a legend."""
    shown = measured(evaluation, RATES)
    out.print(rates_table(evaluation, shown, _cell))
    if len(evaluation.triggered) > 1:
        for file, tallies in zip(files, evaluation.triggered, strict=True):
            say(f"Of {file} alone:")
            out.print(rates_table(evaluation.of_set(tallies), shown, _cell))
    say("Below each rate is its 95 % interval.")
    remedy = "--true-labels can tell, or a clean test set of the same photos."
    for line in legend(evaluation, shown, remedy):
        say(line)
    if evaluation.pairing is not None:
        print_pairs(evaluation.pairing)


def _cell(share: Share | None) -> str:
    return "–" if share is None else f"{share.rate:.2f} %\n{share.low:.1f}–{share.high:.1f}"


def _photo_line(record: dict[str, Any]) -> str:
    classes = {
        name: "no class" if record[name] is None else str(record[name])
        for name in ("class", "badnet", "repaired")
        if name in record
    }
    word = " backdoored" if record.get("backdoored") else ""
    networks = f" (B {classes['badnet']}, B′ {classes['repaired']})" if "badnet" in classes else ""
    reason = ": logits are NaN or infinite" if record.get("not_finite") else ""
    return f"{record['input']}: {classes['class']}{word}{networks}{reason}"


if __name__ == "__main__":
    start("evaluate")
