"""How photos are read, in a confined process: see confinement.py. images/photos.py asks."""

from __future__ import annotations

import warnings
from io import BufferedReader, BytesIO, FileIO

# All of Pillow's modules that these formats need: none can be loaded later.
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
# 50 megapixels, as telephones take them. Pillow keeps 4 bytes of each, and turning a photo or
# making it opaque takes a second copy.
MAX_PIXELS = 50_000_000
MAX_MEMORY = 576 * 2**20
# Of processor time for one photo; 50 megapixels take 2 in the slowest of FORMATS.
SECONDS = 5
BYTES_PER_SECOND = 20 * 2**20
# 16-bit grey, and which of each two bytes is the high one.
GREY_16 = {"I;16": 1, "I;16L": 1, "I;16B": 0}
# What Pillow can turn into 8-bit red, green and blue without a loss that nobody sees.
EIGHT_BIT = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}


class OpenFile:
    """One opened photo, and what may be asked of it."""

    def __init__(self, file: FileIO) -> None:
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS is checked instead, and says more
        self.file = BufferedReader(file)
        self.photo: Image.Image | None = None
        self.unpacked = 0  # SECONDS are for all of a photo
        try:
            self.photo = Image.open(self.file, formats=FORMATS)
            if self.photo.format == "TIFF":  # its library would open the file a second time
                self.file.seek(0)
                self.photo = Image.open(BytesIO(self.file.read()), formats=FORMATS)
        except UnidentifiedImageError:
            pass

    def close(self) -> None:
        """Close it."""
        if self.photo is not None:
            self.photo.close()
        self.file.close()

    def format(self) -> str | None:
        """The name of its format, None where it is no photo."""
        return None if self.photo is None else self.photo.format

    def pixels(self, channels: int, height: int, width: int) -> memoryview:
        """Its pixels, height × width × channels, uint8, by the rule of images/photos.py."""
        assert self.photo is not None
        check_at_most("", MAX_PIXELS, self.photo.width * self.photo.height, "pixels")
        _check_colours(self.photo)
        ImageOps.exif_transpose(self.photo, in_place=True)
        # Nothing may hold on to the photo while other copies of it are made: three of the largest
        # would not fit into memory.
        photos, self.photo = [self.photo], None
        coloured = _rgba(photos) if channels == len("RGBA") else _rgb(photos)
        if channels == 1:
            coloured = coloured.convert("L")
        fitted = ImageOps.fit(coloured, (width, height), Image.Resampling.LANCZOS)
        return memoryview(fitted.tobytes())


def _rgba(photos: list[Image.Image]) -> Image.Image:
    """The one photo of a list, which it is taken out of, as RGB and alpha."""
    photo = _eight_bit(photos.pop())
    return photo if photo.mode == "RGBA" else photo.convert("RGBA")


def _eight_bit(photo: Image.Image) -> Image.Image:
    """A photo of 16-bit grey as one of 8-bit grey, any other as it is, of alpha that Pillow can
    turn into another mode."""
    if photo.mode in GREY_16:
        photo = Image.frombytes("L", photo.size, photo.tobytes()[GREY_16[photo.mode] :: 2])
    return photo.convert("LA") if photo.mode == "La" else photo


def _rgb(photos: list[Image.Image]) -> Image.Image:
    """The one photo of a list, which it is taken out of, as RGB over black."""
    photo = _eight_bit(photos.pop())
    if photo.mode not in ("LA", "PA", "RGBA", "RGBa") and "transparency" not in photo.info:
        return photo if photo.mode == "RGB" else photo.convert("RGB")
    if photo.mode != "RGBA":
        photo = photo.convert("RGBA")
    opaque = Image.new("RGB", photo.size)
    opaque.paste(photo, mask=photo.getchannel("A"))
    return opaque


def _check_colours(photo: Image.Image) -> None:
    """Raises RefusedError where 8-bit colours would be other colours.

    Of 16 bits a colour the upper 8 are taken, here and by Pillow alike.
    """
    if photo.mode not in EIGHT_BIT | set(GREY_16):
        found = "32 bits" if photo.mode in ("I", "F") else f"Pillow's mode {photo.mode}"
        raise RefusedError("", f"expected 8 or 16 bits a colour, found {found}: save it as RGB")
    tiles = getattr(photo, "tile", ())
    if "transparency" in photo.info and any(";16" in str(tile) for tile in tiles):
        raise RefusedError("", "expected alpha, found a transparent 16-bit colour: save it as RGB")
