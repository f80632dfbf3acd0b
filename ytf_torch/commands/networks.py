"""Messages of commands about the networks that they open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ytf_torch.commands.terminal import note, say

if TYPE_CHECKING:
    from ytf_torch.network.checkpoint import Checkpoint
    from ytf_torch.run.pair import Opened, ScaleFrom


def note_doubts(opened: Opened) -> None:
    """Print the warnings about the networks on standard error."""
    for doubt in opened.doubts:
        note(f"warning: {doubt}")


def introduce(opened: Opened) -> None:
    """Print the warnings about the networks, and the pixel scale if it was only assumed."""
    note_doubts(opened)
    if opened.scale_from == "assumed":
        say(pixel_scale_line(opened.badnet, opened.scale_from))


def pixel_scale_line(checkpoint: Checkpoint, scale_from: ScaleFrom) -> str:
    """A line with the pixel scale or preprocessing, and its source."""
    source = {
        "asked": "as requested",
        "file": "as recorded in the model's file",
        "assumed": "assumed, as the Keras file does not record it: CSAW-2020's networks need "
        "--pixel-scale 1/255",
    }
    words = checkpoint.provenance.preprocessing.words
    return f"{words[0].upper()}{words[1:]}, {source[scale_from]}."
