"""Images embedded in a page: photos and feature maps as PNG, plots as SVG."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from ytf_torch.report.drawing import mpl
from ytf_torch.report.plots import NARROW, WIDE, Size


def face_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an image (height, width, channels), uint8, as PNG.

    The first three channels are RGB, or the first of one or two is grey. Further channels, such as
    alpha, are dropped, so that transparent areas are visible.
    """
    grey = pixels.shape[2] < 3
    return _png(Image.fromarray(np.ascontiguousarray(pixels[..., 0] if grey else pixels[..., :3])))


def map_png(values: NDArray[np.float32], highest: float) -> bytes:
    """Encode a feature map (height, width) as PNG, one pixel per value.

    Dark for 0, bright for `highest`. NaN and infinity are drawn as `highest`.
    """
    values = np.nan_to_num(values, nan=highest, posinf=highest)
    brightness = values / highest if highest > 0 else np.zeros_like(values)
    return _png(Image.fromarray(mpl.colormaps["inferno"](brightness, bytes=True)[..., :3]))


def address_of(png: bytes) -> str:
    """A data URL with the image, so that the page needs no other file."""
    return f"data:image/png;base64,{b64encode(png).decode()}"


def drawings(draw: Callable[[Size], bytes | None]) -> list[Markup] | None:
    """Inline SVGs of a plot for wide and for narrow screens; None where there is nothing to draw.

    These are the only values on a page that are not escaped: this package draws them, from numbers
    and its own names.
    """
    drawn = [draw(size) for size in (WIDE, NARROW)]
    return [Markup(svg.decode()) for svg in drawn if svg is not None] or None


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
