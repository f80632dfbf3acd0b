"""Pictures inside a page: faces and feature maps as PNG, plots as SVG."""

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
    """An image (height, width, channels) as PNG: of one channel in grey, of three or four in
    colours. Of any other number the mean of its channels is shown, in grey."""
    if pixels.shape[2] not in (3, 4):
        pixels = pixels.mean(2).round().astype(np.uint8)
    return _png(Image.fromarray(pixels))


def map_png(values: NDArray[np.float32], highest: float) -> bytes:
    """A feature map (height, width) as PNG, dark for 0 to bright for `highest`; one pixel a
    value. What is not finite is as bright as can be."""
    values = np.nan_to_num(values, nan=highest, posinf=highest)
    shares = values / highest if highest > 0 else np.zeros_like(values)
    return _png(Image.fromarray(mpl.colormaps["inferno"](shares, bytes=True)[..., :3]))


def address_of(png: bytes) -> str:
    """A picture as an address that holds it, so that a page needs no other file."""
    return f"data:image/png;base64,{b64encode(png).decode()}"


def drawings(draw: Callable[[Size], bytes | None]) -> list[Markup] | None:
    """A plot as SVG for wide and for narrow screens; None where there is nothing to draw.

    Drawn by this package from numbers and its own names, it is the only thing on a page that is
    not escaped.
    """
    drawn = [draw(size) for size in (WIDE, NARROW)]
    return [Markup(svg.decode()) for svg in drawn if svg is not None] or None


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
