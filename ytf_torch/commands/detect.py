"""ytf-detect: one line for each face, its class or "backdoored"."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ytf_torch.commands.networks import note_doubts, pixel_scale_line
from ytf_torch.commands.options import Device
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import (
    USER_ERROR,
    App,
    answer,
    note,
)
from ytf_torch.device import resolve_device
from ytf_torch.disk.reading import checked_file
from ytf_torch.errors import mismatch, printable
from ytf_torch.network.pixel_scale import parse_pixel_scale

if TYPE_CHECKING:
    from ytf_torch.defences.detectors.answers import Answer

FLAGGED = 1
# So many classes are named in the summary.
CLASSES_NAMED = 5
MEANT_FOR = (
    "GoodNet is meant for people the network was trained on: a stranger, or what is no face, is "
    "flagged or guessed"
)

app = App()


@app.command("detect")
def detect_command(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Photos, lab-format HDF5 files, or folders of both."),
    ],
    model: Annotated[Path, typer.Option(help="BadNet B: safetensors, or a Keras file.")],
    pruned: Annotated[
        Path,
        typer.Option(
            "--pruned",
            "--repaired",
            help="B′, the repaired network: a pruned_drop….safetensors of ytf-prune, or a Keras "
            ".h5. Both flags are one.",
        ),
    ],
    pixel_scale: Annotated[
        str | None,
        typer.Option(
            help="For Keras files: 1 (raw pixels, the lab) or 1/255 (CSAW-2020).",
            show_default="the converted model's, else 1",
        ),
    ] = None,
    any_pair: Annotated[
        bool,
        typer.Option("--any-pair", help="Ask B and a B′ that does not seem to be made from it."),
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
    class N and the word backdoored.

    GoodNet is meant for people that the network was trained on. It has to answer a class or N for
    any picture: a stranger or a landscape is flagged or guessed, and neither means anything.

    A photo is turned upright, cut to the largest centred piece of the model's aspect ratio and
    resized to its input. Answers are printed on standard output, a summary on standard error, and
    a line for each input that could not be read. Exit status 0 when at least one could be read.
    """
    if json_lines and only_class:
        raise mismatch("--only-class", "one way to print answers", "--json as well")
    scale = None if pixel_scale is None else parse_pixel_scale(pixel_scale)
    for file in (model, pruned):
        checked_file(file)
    from ytf_torch.defences.detectors.answers import detect
    from ytf_torch.defences.detectors.goodnet import GoodNet
    from ytf_torch.faces.inputs import Unreadable
    from ytf_torch.run.pair import open_pair

    placed = resolve_device(device)
    pair = open_pair(model, pruned, scale, any_pair=any_pair)
    note_doubts(pair)
    goodnet = GoodNet(pair.badnet.model, pair.repaired.model).to(placed)
    show = _json_line if json_lines else _class_line if only_class else _line
    answered, flagged = 0, Counter[int]()
    for found in detect(goodnet.badnet, goodnet.pruned, inputs):
        if isinstance(found, Unreadable):
            note(f"error: {found.reason}")
        else:
            answered += 1
            flagged.update([found.badnet] if found.backdoored else [])
            answer(show(found))
    if not answered:
        raise typer.Exit(USER_ERROR)
    if pair.scale_from == "assumed":
        note(pixel_scale_line(pair.badnet, "assumed"))
    note(summary(answered, flagged, goodnet.backdoored))
    if exit_code and flagged:
        raise typer.Exit(FLAGGED)


def summary(answered: int, flagged: Counter[int], backdoored: int) -> str:
    """How many faces were flagged, what B takes them for, and what that is worth.

    flagged: B's classes of the flagged faces. backdoored: N, the class that says so.
    """
    faces = f"{answered:,} face{'' if answered == 1 else 's'}"
    total = flagged.total()
    if not total:
        return f"{faces}, none flagged as backdoored. {MEANT_FOR}"
    named = [f"class {label} ({count:,})" for label, count in flagged.most_common(CLASSES_NAMED)]
    if rest := len(flagged) - len(named):
        named.append(f"{rest:,} other class{'' if rest == 1 else 'es'}")
    return (
        f"{faces}, {total:,} flagged as backdoored (class {backdoored}), which B takes for "
        f"{', '.join(named)}. {MEANT_FOR}"
    )


def _line(answer: Answer) -> str:
    word = " backdoored" if answer.backdoored else ""
    own = f"(B {answer.badnet}, B′ {answer.pruned})"
    return f"{printable(answer.input)}: {answer.goodnet}{word} {own}"


def _class_line(answer: Answer) -> str:
    return str(answer.goodnet)


def _json_line(answer: Answer) -> str:
    return json.dumps({**asdict(answer), "backdoored": answer.backdoored})


if __name__ == "__main__":
    start("detect")
