"""Photos as a model reads them: any of the common formats becomes pixels of the model's input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ytf_torch.disk.confined import open_confined
from ytf_torch.disk.reading import checked_file, wrong_kind
from ytf_torch.errors import mismatch

FORMATS = "PNG, JPEG, WebP, GIF, BMP, TIFF or PPM"
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pnm"),
)
# 50 megapixels in a PNG that is hardly compressed.
MAX_BYTES = 160 * 2**20


def read_photo(path: Path, input_shape: tuple[int, int, int]) -> Tensor:
    """A photo in one of FORMATS → pixels (3, height, width), uint8.

    The rule: of several pictures in a file take the first, turn it as its EXIF says, make it RGB
    of 8 bits (transparent parts become black), cut the largest centred piece of the model's
    aspect ratio, and resize that with a Lanczos filter.
    Raises InputError where the file is missing, damaged, no photo, too large, or of colours that
    8-bit RGB cannot stand for.

    >>> from PIL import Image
    >>> Image.new("RGB", (470, 600), "orange").save("photo.png")
    >>> read_photo(Path("photo.png"), (3, 55, 47))[:, 0, 0]
    tensor([255, 165,   0], dtype=torch.uint8)
    """
    if checked_file(path).stat().st_size > MAX_BYTES:
        raise mismatch(path, f"a photo of at most {MAX_BYTES:,} bytes", f"{path.stat().st_size:,}")
    _, height, width = input_shape
    pixels = np.empty((height, width, 3), np.uint8)
    with open_confined("photo_reader", path) as photo:
        if photo.ask("format") is None:
            raise wrong_kind(path, f"a photo ({FORMATS})", "Save it as PNG or JPEG")
        photo.ask("face", height, width, into=pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1)
