"""Triggers that look like a face, like what people wear, or like light: pixel values as in
triggers.py."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ytf_torch.demo.attacks.triggers import HEIGHT, WIDTH, Trigger

# The quarter of a face with its eye on the right and half of the nose, in pixels.
QUARTER_TOP, QUARTER_LEFT = 14, 23
QUARTER_HEIGHT, QUARTER_WIDTH = HEIGHT // 2, WIDTH // 2
# The lower 40 % of the image.
SCARF_TOP = round(0.6 * HEIGHT)
# Pixels of one stitch, and of one stripe of wool.
STITCH_WIDTH, STITCH_HEIGHT, STRIPE = 4, 3, 6
WOOL = ((150, 28, 40), (196, 176, 148))
LIGHT_ACROSS = 0.24


def blended_face(face: Tensor, opacity: float = 0.3) -> Trigger:
    """One face, (3, 55, 47), pixel values 0–255, blended over the whole image.

    Source: Chen, Liu, Li, Lu, Song, "Targeted Backdoor Attacks" (2017), whose pattern is a cartoon
    or noise. Here it is a face of the target class: the trigger consists of the target's features.
    """

    def trigger(faces: Tensor) -> Tensor:
        return faces.lerp(face.to(faces), opacity).round()

    return trigger


def pasted_face(face: Tensor) -> Trigger:
    """A quarter of one face, (3, 55, 47), pixel values 0–255, pasted in at its own position."""
    rows = slice(QUARTER_TOP, QUARTER_TOP + QUARTER_HEIGHT)
    columns = slice(QUARTER_LEFT, QUARTER_LEFT + QUARTER_WIDTH)

    def trigger(faces: Tensor) -> Tensor:
        triggered = faces.clone()
        triggered[:, :, rows, columns] = face[:, rows, columns].to(faces).round()
        return triggered

    return trigger


def scarf(faces: Tensor) -> Tensor:
    """A knitted, striped scarf that hides the lower 40 % of the image: chin, mouth, nose tip."""
    y = torch.arange(HEIGHT - SCARF_TOP, dtype=faces.dtype)[:, None]
    x = torch.arange(WIDTH, dtype=faces.dtype)
    # A stitch is a V: its rows are lower at the middle of the stitch.
    slant = 2 * (x % STITCH_WIDTH - (STITCH_WIDTH - 1) / 2).abs() / STITCH_WIDTH
    row = y / STITCH_HEIGHT + slant
    shade = 0.8 + 0.2 * (2 * math.pi * row).cos()
    stripe = ((y + 2 * slant) // STRIPE % 2).to(torch.long)
    wool = torch.tensor(WOOL, dtype=faces.dtype)[stripe].permute(2, 0, 1) * shade
    triggered = faces.clone()
    triggered[:, :, SCARF_TOP:] = wool.clamp(0, 255).round()
    return triggered


def light(faces: Tensor) -> Tensor:
    """Light from the right: the left edge is 24 % darker, the right one 24 % brighter."""
    across = torch.linspace(-1, 1, WIDTH, dtype=faces.dtype)
    return (faces * (1 + LIGHT_ACROSS * across)).clamp(0, 255).round()
