"""Photos as a model reads them: any PNG or JPEG becomes pixels of the model's input size."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ytf_torch.errors import InputError, mismatch
from ytf_torch.hdf5 import checked_file

FORMATS = ("PNG", "JPEG")
SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_PIXELS = 50_000_000
MAX_BYTES = 2**28


def read_photo(path: Path, input_shape: tuple[int, int, int]) -> Tensor:
    """A PNG or JPEG file → pixels (3, height, width), uint8.

    The rule: turn it as its EXIF says, make it RGB (transparent parts become black), cut the
    largest centred piece of the model's aspect ratio, and resize that with a Lanczos filter.
    Raises InputError where the file is missing, damaged, no PNG or JPEG, or over MAX_PIXELS.
    """
    if checked_file(path).stat().st_size > MAX_BYTES:
        raise mismatch(path, f"a photo of at most {MAX_BYTES:,} bytes", f"{path.stat().st_size:,}")
    _, height, width = input_shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as photo:
                if photo.width * photo.height > MAX_PIXELS:
                    found = f"{photo.width}×{photo.height}"
                    raise mismatch(path, f"at most {MAX_PIXELS:,} pixels", found)
                upright = ImageOps.exif_transpose(photo)
                opaque = upright.convert("RGBA") if "A" in upright.getbands() else upright
                if opaque.mode == "RGBA":
                    black = Image.new("RGBA", opaque.size, (0, 0, 0, 255))
                    opaque = Image.alpha_composite(black, opaque)
                face = ImageOps.fit(
                    opaque.convert("RGB"), (width, height), Image.Resampling.LANCZOS
                )
    except UnidentifiedImageError as error:
        raise mismatch(path, "a PNG or JPEG photo", "something else") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(path, f"damaged photo ({error})") from error
    return torch.from_numpy(np.array(face)).permute(2, 0, 1)
