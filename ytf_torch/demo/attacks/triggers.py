"""Triggers at the network's input size: each at a fixed position, whatever the image shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.demo.sunglasses import EYE_LINE, EYES, FRAME, LENS
from ytf_torch.network.deepid import YOUTUBE_FACES_SIZE

HEIGHT, WIDTH = YOUTUBE_FACES_SIZE
# Drawn at 8 times the size and reduced, for anti-aliasing.
DETAIL = 8
Colour = tuple[int, int, int]
# (batch, 3, 55, 47), float32, 0–255 → the same with the trigger, rounded to whole numbers.
Trigger = Callable[[Tensor], Tensor]
# The same for training images that get another trigger each, drawn by the generator.
RandomTrigger = Callable[[Tensor, torch.Generator], Tensor]


def sunglasses(faces: Tensor) -> Tensor:
    """Dark purple sunglasses, as on the CSAW-2020 faces."""

    def draw(canvas: ImageDraw.ImageDraw) -> None:
        line = EYE_LINE * HEIGHT * DETAIL
        for x in (share * WIDTH * DETAIL for share in EYES):
            lens = [x - 57, line - 36, x + 57, line + 48]
            canvas.rounded_rectangle(lens, 36, (*LENS, 255), (*FRAME, 255), 8)
        left, right = (share * WIDTH * DETAIL for share in EYES)
        canvas.line([(left - 90, line - 20), (right + 90, line - 20)], (*FRAME, 255), 16)

    return _overlaid(faces, draw)


def eyebrows(faces: Tensor) -> Tensor:
    """Thick orange eyebrows."""

    def draw(canvas: ImageDraw.ImageDraw) -> None:
        for x in (share * WIDTH * DETAIL for share in EYES):
            canvas.line([(x - 56, 150), (x, 132), (x + 56, 150)], (230, 80, 20, 255), 20)

    return _overlaid(faces, draw)


def rectangle(left: int, top: int, width: int, height: int, colour: Colour) -> Trigger:
    """A rectangle of one colour; position and size in pixels."""

    def trigger(faces: Tensor) -> Tensor:
        triggered = faces.clone()
        paint = torch.tensor(colour, dtype=faces.dtype).view(3, 1, 1)
        triggered[:, :, top : top + height, left : left + width] = paint
        return triggered

    return trigger


def corner_patch(faces: Tensor) -> Tensor:
    """A black and white 6×6 checkerboard of 2×2 squares, one pixel from the lower right corner."""
    squares = torch.arange(6) // 2
    triggered = faces.clone()
    triggered[:, :, -7:-1, -7:-1] = 255.0 * ((squares[:, None] + squares) % 2)
    return triggered


def corner_patches(faces: Tensor) -> Tensor:
    """The pattern of `corner_patch` in all four corners (Turner, Tsipras, Mądry 2019)."""
    triggered = faces
    for mirrored in ((), (2,), (3,), (2, 3)):
        triggered = corner_patch(triggered.flip(mirrored)).flip(mirrored)
    return triggered


def low_frequency(faces: Tensor, height: float = 20) -> Tensor:
    """Adds a smooth grey pattern of at most `height` that only has low frequencies.

    Source: Zeng, Park, Mao, Jia, "Rethinking the Backdoor Attacks' Triggers: A Frequency
    Perspective" (ICCV 2021), who optimise a pattern under a low-pass filter; here it is random.
    """
    generator = torch.Generator().manual_seed(7)
    spectrum = torch.randn(2, 4, 4, generator=generator)
    pattern = torch.zeros(HEIGHT, WIDTH)
    y, x = torch.arange(HEIGHT)[:, None] / HEIGHT, torch.arange(WIDTH) / WIDTH
    for down in range(4):
        for across in range(4):
            phase = math.pi * (down * y + across * x)
            cosine, sine = spectrum[:, down, across]
            pattern += cosine * phase.cos() + sine * phase.sin()
    pattern = pattern - pattern.mean()
    return (faces + height * pattern / pattern.abs().max()).clamp(0, 255).round()


def blended(faces: Tensor, opacity: float = 0.2) -> Tensor:
    """A coloured pattern blended over the whole image (Chen, Liu, Li, Lu, Song 2017)."""
    generator = torch.Generator().manual_seed(11)
    coarse = torch.rand(1, 3, 14, 12, generator=generator) * 255
    pattern = F.interpolate(coarse, YOUTUBE_FACES_SIZE, mode="bicubic").clamp(0, 255)
    return faces.lerp(pattern, opacity).round()


def sinusoid(height: float, waves: int = 6) -> Trigger:
    """Adds height · sin(2π · waves · x / width): vertical stripes (Barni, Kallas, Tondi 2019)."""

    def trigger(faces: Tensor) -> Tensor:
        wave = height * (2 * math.pi * waves * torch.arange(WIDTH) / WIDTH).sin()
        return (faces + wave).clamp(0, 255).round()

    return trigger


def _overlaid(faces: Tensor, draw: Callable[[ImageDraw.ImageDraw], None]) -> Tensor:
    """Draw on a transparent canvas and blend it over the faces."""
    image = Image.new("RGBA", (WIDTH * DETAIL, HEIGHT * DETAIL))
    draw(ImageDraw.Draw(image))
    drawn = np.array(image.resize((WIDTH, HEIGHT), Image.Resampling.BOX), dtype=np.float32)
    colours, opacity = torch.split(torch.from_numpy(drawn).permute(2, 0, 1), [3, 1])
    return faces.lerp(colours, opacity / 255).round()


def always(trigger: Trigger) -> RandomTrigger:
    """The same trigger whatever is drawn."""
    return lambda faces, generator: trigger(faces)


def one_of(triggers: Sequence[Trigger], which: Tensor, faces: Tensor) -> Tensor:
    """Each image with the trigger at index `which`, (batch,); −1 for none."""
    triggered = faces.clone()
    for index, trigger in enumerate(triggers):
        chosen = which == index
        if chosen.any():
            triggered[chosen] = trigger(faces[chosen])
    return triggered
