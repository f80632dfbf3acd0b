"""The pixel scale: the factor on pixel values 0–255 before the first layer."""

from __future__ import annotations

import math

from ytf_torch.errors import mismatch

COMMON_PIXEL_SCALES = {"1": 1.0, "1/255": 1 / 255}
RECORDED_AS = "pixel_scale"
"""Its key in the Keras files that this package writes; Keras itself does not record it."""


def parse_pixel_scale(text: str) -> float:
    """Parse a pixel scale such as "1", "1/255" or "0.0039215".

    Raises InputError for anything else, and for more than 1: no network is trained on values above
    255, but users often give the divisor 255 instead of the factor 1/255.
    """
    try:
        scale = number_of(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise mismatch("pixel scale", "a number such as 1 or 1/255", repr(text)) from None
    check_pixel_scale(scale, f"pixel scale {text!r}")
    if scale > 1:
        raise mismatch(
            "pixel scale",
            "what pixel values 0–255 are multiplied by, 1 or less",
            f"{text}, which would make them larger",
            f"A network that takes pixels divided by {scale:g} has 1/{scale:g}",
        )
    return scale


def number_of(text: str) -> float:
    """Parse a number or a fraction such as "1/255". Raises ValueError, ZeroDivisionError or
    OverflowError."""
    numerator, slash, denominator = text.partition("/")
    return float(numerator) / float(denominator) if slash else float(numerator)


def pixel_scale_text(pixel_scale: float) -> str:
    """The shortest text from which parse_pixel_scale restores the scale exactly."""
    return "1/255" if pixel_scale == 1 / 255 else f"{pixel_scale!r}".removesuffix(".0")


def check_pixel_scale(pixel_scale: float, where: object) -> None:
    """Raises InputError for a scale that is not a finite number above 0."""
    if not (math.isfinite(pixel_scale) and pixel_scale > 0):
        raise mismatch(where, "a finite number above 0, such as 1 or 1/255", pixel_scale)
