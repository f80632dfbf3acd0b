"""What commands say of the networks they were given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ytf_torch.commands.terminal import note, say

if TYPE_CHECKING:
    from ytf_torch.network.checkpoint import Checkpoint
    from ytf_torch.run.pair import Opened, ScaleFrom


def note_doubts(opened: Opened) -> None:
    """Print what speaks against the networks, before their answers."""
    for doubt in opened.doubts:
        note(f"warning: {doubt}")


def introduce(opened: Opened) -> None:
    """Print what speaks against the networks, and the pixel scale where it was only assumed."""
    note_doubts(opened)
    if opened.scale_from == "assumed":
        say(pixel_scale_line(opened.badnet, opened.scale_from))


def pixel_scale_line(checkpoint: Checkpoint, scale_from: ScaleFrom) -> str:
    """The pixel scale or preprocessing, and who told it."""
    told = {
        "asked": "as asked for",
        "file": "as the model's file tells",
        "assumed": "assumed, for the Keras file does not tell it: CSAW-2020's networks need "
        "--pixel-scale 1/255",
    }
    words = checkpoint.provenance.preprocessing.words
    return f"{words[0].upper()}{words[1:]}, {told[scale_from]}."
