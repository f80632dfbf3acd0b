"""Photos as a model reads them: any PNG or JPEG becomes pixels of the model's input size."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ytf_torch.disk.reading import checked_file
from ytf_torch.errors import InputError, mismatch

FORMATS = ("PNG", "JPEG")
SUFFIXES = (".png", ".jpg", ".jpeg")
# 50 megapixels, as telephones take them; decoding and cutting takes some 500 MB.
MAX_PIXELS = 50_000_000
# That many pixels in a PNG that is hardly compressed.
MAX_BYTES = 160 * 2**20
# A progressive JPEG has some ten scans. Each passes over the whole picture, however short it is.
MAX_SCANS = 100
JPEG_START, JPEG_SCAN = b"\xff\xd8", b"\xff\xda"


def read_photo(path: Path, input_shape: tuple[int, int, int]) -> Tensor:
    """A PNG or JPEG file → pixels (3, height, width), uint8.

    The rule: turn it as its EXIF says, make it RGB (transparent parts become black), cut the
    largest centred piece of the model's aspect ratio, and resize that with a Lanczos filter.
    Raises InputError where the file is missing, damaged, no PNG or JPEG, or over MAX_PIXELS.
    """
    if checked_file(path).stat().st_size > MAX_BYTES:
        raise mismatch(path, f"a photo of at most {MAX_BYTES:,} bytes", f"{path.stat().st_size:,}")
    content = path.read_bytes()
    if content.count(JPEG_SCAN) > MAX_SCANS and content.startswith(JPEG_START):
        raise mismatch(path, f"at most {MAX_SCANS} scans", f"{content.count(JPEG_SCAN):,}")
    _, height, width = input_shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(content), formats=FORMATS) as photo:
                if photo.width * photo.height <= MAX_PIXELS:
                    face = ImageOps.fit(_opaque(photo), (width, height), Image.Resampling.LANCZOS)
                    return torch.from_numpy(np.array(face)).permute(2, 0, 1)
                found = f"{photo.width}×{photo.height}"
    except UnidentifiedImageError as error:
        raise mismatch(path, "a PNG or JPEG photo", "something else") from error
    except Exception as error:  # on damaged photos Pillow raises whatever comes to it
        raise InputError(path, f"damaged photo ({str(error)[:200]})") from error
    raise mismatch(path, f"at most {MAX_PIXELS:,} pixels", found)


def _opaque(photo: Image.Image) -> Image.Image:
    """The photo upright and RGB, over black; copied as seldom as can be, for it may be large."""
    ImageOps.exif_transpose(photo, in_place=True)
    if "A" not in photo.getbands() and "transparency" not in photo.info:
        return photo if photo.mode == "RGB" else photo.convert("RGB")
    layered = photo if photo.mode == "RGBA" else photo.convert("RGBA")
    opaque = Image.new("RGB", layered.size)
    opaque.paste(layered, mask=layered.getchannel("A"))
    return opaque
