"""Reads photos of common formats as pixels in a model's input size."""

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
# Grey, RGB, RGBA.
PHOTO_CHANNELS = (1, 3, 4)
# 50 megapixels in a PNG that hardly compresses.
MAX_BYTES = 160 * 2**20


def read_photo(path: Path, input_shape: tuple[int, int, int]) -> Tensor:
    """A photo in one of FORMATS as pixels (channels, height, width), uint8.

    In this order: take the first frame of the file; rotate it as its EXIF orientation says; convert
    it to 8-bit RGB over black, to grey for a network of one channel, or to RGBA for one of four;
    crop the largest centred area of the model's aspect ratio; resize it with a Lanczos filter.
    Raises InputError if the file is missing, damaged, not a photo, too large, or of colours that
    8-bit RGB cannot represent, and if the network has neither one, three nor four channels.

    >>> from PIL import Image
    >>> Image.new("RGB", (470, 600), "orange").save("photo.png")
    >>> read_photo(Path("photo.png"), (3, 55, 47))[:, 0, 0]
    tensor([255, 165,   0], dtype=torch.uint8)
    """
    if checked_file(path).stat().st_size > MAX_BYTES:
        raise mismatch(path, f"a photo of at most {MAX_BYTES:,} bytes", f"{path.stat().st_size:,}")
    channels, height, width = input_shape
    if channels not in PHOTO_CHANNELS:
        expected = f"a network of {' or '.join(map(str, PHOTO_CHANNELS))} channels, to read photos"
        raise mismatch(path, expected, f"one of {channels}", "Give its images as an array")
    pixels = np.empty((height, width, channels), np.uint8)
    with open_confined("photo_reader", path) as photo:
        if photo.ask("format") is None:
            raise wrong_kind(path, f"a photo ({FORMATS})", "Save it as PNG or JPEG")
        photo.ask("pixels", channels, height, width, into=pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1)
