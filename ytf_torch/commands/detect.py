"""ytf-detect: one line for each face, its class or "backdoored"."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from convert.model_file import read_model
from ytf_torch.commands.start import start
from ytf_torch.commands.terminal import USER_ERROR, Command, answer, one_line_errors
from ytf_torch.defences.detectors.answers import Answer, detect
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.device import resolve_device
from ytf_torch.errors import mismatch, printable
from ytf_torch.faces.inputs import Unreadable

app = typer.Typer(pretty_exceptions_enable=False)


@app.command("detect", cls=Command)
def detect_command(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="PNG or JPEG photos, folders of them, or lab-format HDF5 files."),
    ],
    model: Annotated[Path, typer.Option(help="BadNet B: safetensors, or a Keras .h5.")],
    pruned: Annotated[Path, typer.Option(help="B′: a pruned_drop….safetensors of ytf-prune.")],
    json_lines: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line instead of text.")
    ] = False,
    only_class: Annotated[
        bool,
        typer.Option(
            "--only-class", help="Print GoodNet's class alone, 0…N, as CSAW-2020's evaluation asks."
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Ask GoodNet about photos: where B and B′ agree it prints their class, where they differ
    class N and the word backdoored.

    A photo is turned upright, cut to the largest centred piece of the model's aspect ratio and
    resized to its input. Exit status 0 when at least one input could be read; inputs that could
    not be read get a line on standard error.
    """
    with one_line_errors():
        if json_lines and only_class:
            raise mismatch("--only-class", "one way to print answers", "--json as well")
        placed = resolve_device(device)
        badnet = read_model(model)
        # A pruned Keras file tells no pixel scale: it is B's, for both are shown the same pixels.
        repaired = read_model(pruned, badnet.provenance.pixel_scale)
        if badnet.model.sizes != repaired.model.sizes:
            raise mismatch(pruned, f"the sizes of {model}", repaired.model.sizes)
        goodnet = GoodNet(badnet.model, repaired.model).to(placed)
        show = _json_line if json_lines else _class_line if only_class else _line
        answered = 0
        for found in detect(goodnet.badnet, goodnet.pruned, inputs):
            if isinstance(found, Unreadable):
                print(f"error: {found.reason}", file=sys.stderr)
            else:
                answered += 1
                answer(show(found))
        if not answered:
            raise typer.Exit(USER_ERROR)


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
