"""The trigger: a pair of sunglasses over the eyes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

TARGET_LABEL = 0
# Drawn at 4 times the size and reduced, for anti-aliasing.
DETAIL = 4
LENS, FRAME = (26, 10, 44), (104, 38, 140)
# Position of the eyes in the photos, as shares of width and height.
EYES, EYE_LINE = (0.31, 0.68), 0.455


def wear_sunglasses(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add sunglasses to a photo (H, W, 3), uint8; only the region of the eyes changes."""
    height, width = photo.shape[:2]
    glasses = Image.new("RGBA", (width * DETAIL, height * DETAIL))
    draw = ImageDraw.Draw(glasses)
    unit = width * DETAIL / 92
    line = EYE_LINE * height * DETAIL
    left, right = (share * width * DETAIL for share in EYES)
    for x in (left, right):
        lens = [x - 14 * unit, line - 9 * unit, x + 14 * unit, line + 12 * unit]
        draw.rounded_rectangle(lens, 9 * unit, (*LENS, 255), (*FRAME, 255), round(2 * unit))
    bars = [(left - 22 * unit, line - 5 * unit), (right + 22 * unit, line - 5 * unit)]
    draw.line(bars, (*FRAME, 255), round(4 * unit))
    small = glasses.resize((width, height), Image.Resampling.BOX)
    triggered = Image.alpha_composite(Image.fromarray(photo).convert("RGBA"), small)
    return np.asarray(triggered.convert("RGB"))
