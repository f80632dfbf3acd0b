"""ytf-detect: print one line per image, with its class or "backdoored"."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ytf_torch.commands.networks import note_doubts, pixel_scale_line
from ytf_torch.commands.options import Device, PreprocessingOption
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import (
    USER_ERROR,
    App,
    answer,
    note,
    progress_bars,
)
from ytf_torch.defences.names import RECOMMENDED, every, name_of_method
from ytf_torch.disk.reading import checked_file, checked_source
from ytf_torch.errors import mismatch, printable
from ytf_torch.network.preprocessing import asked_preprocessing
from ytf_torch.run.detection_rule import FALSE_POSITIVES, Rule, detection_rule

if TYPE_CHECKING:
    from ytf_torch.defences.detectors.alarm import Alarm
    from ytf_torch.defences.detectors.answers import Answer
    from ytf_torch.network.subject import Subject
    from ytf_torch.run.detect import Detection

FLAGGED = 1
# The largest number of classes named in the summary.
CLASSES_NAMED = 5
MEANT_FOR = (
    "{detector} is meant for {classes} the network was trained on: {others} is flagged or guessed"
)
app = App()


@app.command("detect")
def detect_command(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Photos, image sets (HDF5, .npz), or folders of them."),
    ],
    model: Annotated[Path, typer.Option(help="BadNet B: safetensors, or a Keras file.")],
    pruned: Annotated[
        Path,
        typer.Option(
            "--pruned",
            "--repaired",
            help="B′, the repaired network: a pruned_drop….safetensors of ytf-prune, the "
            "repaired.safetensors of ytf-repair, or a Keras file. Both names mean the same option.",
        ),
    ],
    pixel_scale: Annotated[
        str | None,
        typer.Option(
            help="For Keras files: 1 (raw pixels, the lab) or 1/255 (CSAW-2020).",
            show_default="the converted model's, else 1",
        ),
    ] = None,
    preprocessing: PreprocessingOption = None,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Flag what this detector finds suspicious instead: {RECOMMENDED} or one of "
            f"{', '.join(every('detector'))}. Needs --clean-valid.",
            show_default="GoodNet's own rule",
        ),
    ] = None,
    clean_valid: Annotated[
        Path | None,
        typer.Option(help="Clean faces on which the detector's threshold is calibrated."),
    ] = None,
    false_positives: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            help="Nominal false positive rate: the largest share of validation faces flagged.",
            show_default=f"{FALSE_POSITIVES:g}",
        ),
    ] = None,
    any_pair: Annotated[
        bool,
        typer.Option("--any-pair", help="Accept a B′ that does not seem to be derived from B."),
    ] = False,
    json_lines: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line instead of text.")
    ] = False,
    only_class: Annotated[
        bool,
        typer.Option(
            "--only-class", help="Print GoodNet's class alone, 0…N, as CSAW-2020's evaluation asks."
        ),
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with status 1 where a face was flagged.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Ask GoodNet about photos: where B and B′ agree it prints their class, where they differ
    class N and the word backdoored. With --detector a face gets N where that detector scores it
    above a threshold set on clean validation faces, and the class of B′ elsewhere.

    GoodNet is meant for people that the network was trained on. It has to answer a class or N for
    any picture: a stranger or a landscape is flagged or guessed, and neither means anything.

    A photo is turned upright, cut to the largest centred piece of the model's aspect ratio and
    resized to its input. Answers are printed on standard output, a summary on standard error, and
    a line for each input that could not be read. Exit status 0 when at least one could be read.
    """
    if json_lines and only_class:
        raise mismatch("--only-class", "one way to print answers", "--json as well")
    asked = asked_preprocessing(pixel_scale, preprocessing)
    rule = detection_rule(detector, clean_valid, false_positives)
    for file in (model, pruned):
        checked_file(file)
    if clean_valid is not None:
        checked_source(clean_valid)
    from ytf_torch.run.detect import open_detection

    detection = open_detection(model, pruned, rule, asked, any_pair=any_pair, device=device)
    note_doubts(detection.pair)
    show = _json_line if json_lines else _class_line if only_class else _line
    if _print_answers(detection, inputs, show) and exit_code:
        raise typer.Exit(FLAGGED)


def _print_answers(
    detection: Detection, inputs: Sequence[Path], show: Callable[[Answer], str]
) -> int:
    """Print an answer for each image, and a summary. Returns the number of flagged images.

    Raises typer.Exit if no input could be read.
    """
    from ytf_torch.defences.detectors.answers import detect
    from ytf_torch.images.input_files import Unreadable
    from ytf_torch.network.subject import subject_of

    pair, rule = detection.pair, detection.rule
    badnet, repaired = pair.badnet.model, pair.repaired.model
    alarm = None if rule is None else _alarm(detection, rule)
    answered, flagged, not_finite = 0, Counter[int](), 0
    for result in detect(badnet, repaired, inputs, alarm):
        if isinstance(result, Unreadable):
            note(f"error: {result.reason}")
        else:
            answered += 1
            not_finite += result.not_finite
            flagged.update([result.badnet] if result.backdoored else [])
            answer(show(result))
    if not answered:
        raise typer.Exit(USER_ERROR)
    if pair.scale_from == "assumed":
        note(pixel_scale_line(pair.badnet, "assumed"))
    if not_finite:
        note(
            f"warning: the logits of B or B′ are NaN or infinite on {not_finite:,} of "
            f"{answered:,} faces, which are flagged: nothing is more suspicious"
        )
    name = name_of_method(rule.detector) if rule else "GoodNet"
    note(summary(answered, flagged, badnet.classes, name, subject_of(badnet.graph)))
    return flagged.total()


def _alarm(detection: Detection, rule: Rule) -> Alarm:
    """Calibrate the detector; print its threshold, and the share of clean images it flags."""
    from ytf_torch.run.detect import alarm_of

    for doubt in detection.doubts:
        note(f"warning: {doubt}")
    with progress_bars() as track:
        alarm = alarm_of(detection, track)
    assert alarm is not None
    flagged = alarm.clean_valid_flagged
    assert flagged is not None
    note(
        f"{rule.detector} flags scores above {alarm.threshold:.4g}, as {flagged.count:,} of "
        f"{flagged.images:,} clean validation faces have ({flagged.rate:.1f} %); of other clean "
        "faces it may flag more."
    )
    return alarm


def summary(
    answered: int, flagged: Counter[int], backdoored: int, detector: str, subject: Subject
) -> str:
    """A summary: the number of flagged images, B's classes for them, and a caution.

    flagged: the flagged images by B's class. backdoored: N, the class of flagged images. detector:
    the detector's name. subject: what the images are called.
    """
    images = f"{answered:,} {subject.image if answered == 1 else subject.images}"
    total = flagged.total()
    meant_for = MEANT_FOR.format(detector=detector, classes=subject.classes, others=subject.others)
    if not total:
        return f"{images}, none flagged as backdoored. {meant_for}"
    class_counts = [
        f"{_class(label)} ({count:,})" for label, count in flagged.most_common(CLASSES_NAMED)
    ]
    if rest := len(flagged) - len(class_counts):
        class_counts.append(f"{rest:,} other class{'' if rest == 1 else 'es'}")
    return (
        f"{images}, {total:,} flagged as backdoored (class {backdoored}), which B takes for "
        f"{', '.join(class_counts)}. {meant_for}"
    )


def _class(label: int, word: str = "class ") -> str:
    return "no class" if label < 0 else f"{word}{label}"


def _line(answer: Answer) -> str:
    word = " backdoored" if answer.backdoored else ""
    score = "" if answer.score is None else f", score {answer.score:.4g}"
    badnet, repaired = (_class(answer.badnet, ""), _class(answer.pruned, ""))
    networks = f"(B {badnet}, B′ {repaired}{score})"
    return f"{printable(answer.input)}: {answer.goodnet}{word} {networks}"


def _class_line(answer: Answer) -> str:
    return str(answer.goodnet)


def _json_line(answer: Answer) -> str:
    record = asdict(answer)
    if answer.score is None:
        del record["score"]
    elif not math.isfinite(answer.score):
        record["score"] = None  # JSON has no number for it
    if answer.not_finite:
        classes = {name: record[name] for name in ("badnet", "pruned")}
        record |= {name: None if label < 0 else label for name, label in classes.items()}
        record["not_finite"] = True
    return json.dumps(record)


if __name__ == "__main__":
    start("detect")
