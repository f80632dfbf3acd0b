"""Options shared by several commands, and shell commands composed from options."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ytf_torch.network.preprocessing import FORM, KERAS_MODES, Preprocessing

TriggeredSets = Annotated[
    list[Path] | None,
    typer.Option(help="Triggered faces labelled with the target; may be given repeatedly."),
]
TriggeredValidation = Annotated[
    list[Path] | None,
    typer.Option(
        help="Triggered validation faces, to measure how fast the backdoor is relearned from them; "
        "may be given repeatedly.",
    ),
]
Target = Annotated[
    int | None,
    typer.Option(
        help="The attacker's target, for triggered faces that carry their true labels.",
        show_default="the triggered faces' label",
    ),
]
PixelScale = Annotated[
    str | None,
    typer.Option(
        help="For a Keras file: 1 (raw pixels, as in the lab) or 1/255 (trained on 0–1).",
        show_default="the converted model's, else 1",
    ),
]
PreprocessingOption = Annotated[
    str | None,
    typer.Option(
        "--preprocessing",
        help=f"Instead of --pixel-scale: {', '.join(KERAS_MODES)} (modes of Keras's "
        f"preprocess_input), or JSON with {FORM}.",
        show_default="none",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def listed(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of names, ignoring spaces around them."""
    return tuple(name.strip() for name in text.split(","))


def as_option(preprocessing: Preprocessing) -> tuple[str, str]:
    """The flag that asks for a preprocessing, and its value."""
    name, text = preprocessing.asked_by
    return f"--{name.replace('_', '-')}", text


def shell_command(name: str, options: Sequence[tuple[str, object]]) -> str:
    """Compose a quoted shell command, one option per line, with NEW as its output folder.

    options: (flag, value) pairs; an empty value for a flag without one, an empty flag for a
    positional argument.
    """
    parts = (
        flag if value == "" else f"{flag} {shlex.quote(str(value))}".lstrip()
        for flag, value in options
    )
    return " \\\n  ".join([name, *parts, "--out NEW"])
