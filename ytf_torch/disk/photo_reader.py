"""Reads image files inside a sandboxed process (see confinement.py), on requests from
images/photos.py."""

from __future__ import annotations

import warnings
from io import BufferedReader, BytesIO, FileIO

# Every Pillow module that FORMATS need: the sandbox can load no module later.
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageFile,
    ImageOps,
    ImagePalette,
    ImageSequence,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from ytf_torch.disk.refused import RefusedError, check_at_most

METHODS = ("format", "pixels")
PLUGINS = (
    *(BmpImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin),
    *(PpmImagePlugin, TiffImagePlugin, WebPImagePlugin),
    *(ImageChops, ImageFile, ImagePalette, ImageSequence),
)
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
# 50 megapixels, as phone cameras produce. Pillow stores 4 bytes per pixel, and rotating an image or
# compositing it over black needs a second copy.
MAX_PIXELS = 50_000_000
MAX_MEMORY = 576 * 2**20
# CPU seconds for one image; 50 megapixels need 2 in the slowest of FORMATS.
SECONDS = 5
BYTES_PER_SECOND = 20 * 2**20
# Pillow's modes of 16-bit grey, and which byte of each pixel is the high one.
GREY_16 = {"I;16": 1, "I;16L": 1, "I;16B": 0}
# Modes that Pillow converts to 8-bit RGB without silently losing information.
EIGHT_BIT = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}


class OpenFile:
    """One opened image file and the requests that it answers."""

    def __init__(self, file: FileIO) -> None:
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS is checked instead, with a clearer message
        self.file = BufferedReader(file)
        self.photo: Image.Image | None = None
        self.unpacked = 0  # stays 0: SECONDS is the limit for the whole image
        try:
            self.photo = Image.open(self.file, formats=FORMATS)
            if self.photo.format == "TIFF":  # libtiff would open the file again, which is denied
                self.file.seek(0)
                self.photo = Image.open(BytesIO(self.file.read()), formats=FORMATS)
        except UnidentifiedImageError:
            pass

    def close(self) -> None:
        """Close the file."""
        if self.photo is not None:
            self.photo.close()
        self.file.close()

    def format(self) -> str | None:
        """The name of its format, None if it is not an image in one of FORMATS."""
        return None if self.photo is None else self.photo.format

    def pixels(self, channels: int, height: int, width: int) -> memoryview:
        """Its pixels, (height, width, channels), uint8, converted as images/photos.py documents."""
        assert self.photo is not None
        check_at_most("", MAX_PIXELS, self.photo.width * self.photo.height, "pixels")
        _check_colours(self.photo)
        ImageOps.exif_transpose(self.photo, in_place=True)
        # Passed in a list that the callee empties, so that no reference here keeps the image alive
        # while copies of it are made: three of the largest would exceed MAX_MEMORY.
        photos, self.photo = [self.photo], None
        coloured = _rgba(photos) if channels == len("RGBA") else _rgb(photos)
        if channels == 1:
            coloured = coloured.convert("L")
        fitted = ImageOps.fit(coloured, (width, height), Image.Resampling.LANCZOS)
        return memoryview(fitted.tobytes())


def _rgba(photos: list[Image.Image]) -> Image.Image:
    """Pop the only image of a list and convert it to RGBA."""
    photo = _eight_bit(photos.pop())
    return photo if photo.mode == "RGBA" else photo.convert("RGBA")


def _eight_bit(photo: Image.Image) -> Image.Image:
    """Convert 16-bit grey to 8-bit grey, and La (premultiplied alpha) to LA, the only mode to which
    Pillow converts it. Other images are returned as they are."""
    if photo.mode in GREY_16:
        photo = Image.frombytes("L", photo.size, photo.tobytes()[GREY_16[photo.mode] :: 2])
    return photo.convert("LA") if photo.mode == "La" else photo


def _rgb(photos: list[Image.Image]) -> Image.Image:
    """Pop the only image of a list and composite it over black as RGB."""
    photo = _eight_bit(photos.pop())
    if photo.mode not in ("LA", "PA", "RGBA", "RGBa") and "transparency" not in photo.info:
        return photo if photo.mode == "RGB" else photo.convert("RGB")
    if photo.mode != "RGBA":
        photo = photo.convert("RGBA")
    opaque = Image.new("RGB", photo.size)
    opaque.paste(photo, mask=photo.getchannel("A"))
    return opaque


def _check_colours(photo: Image.Image) -> None:
    """Raises RefusedError if conversion to 8-bit RGB would change the colours.

    Of 16-bit channels the upper 8 bits are kept, here as in Pillow.
    """
    if photo.mode not in EIGHT_BIT | set(GREY_16):
        found = "32 bits" if photo.mode in ("I", "F") else f"Pillow's mode {photo.mode}"
        raise RefusedError("", f"expected 8 or 16 bits a colour, found {found}: save it as RGB")
    tiles = getattr(photo, "tile", ())
    if "transparency" in photo.info and any(";16" in str(tile) for tile in tiles):
        raise RefusedError("", "expected alpha, found a transparent 16-bit colour: save it as RGB")
