"""Prints how many triggered images are paired with the clean ones that they were made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ytf_torch.commands.terminal import say

if TYPE_CHECKING:
    from ytf_torch.images.pairing import Pairing


def print_pairs(pairing: Pairing) -> None:
    """Print the number of pairs, and whether they are too few to know the true classes."""
    too_few = "" if pairing.is_enough else ", too few to say who is on them"
    say(f"Pairs: {pairing}{too_few}.")
