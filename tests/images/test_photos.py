from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.made.keras_files import SMALL, random_images
from ytf_torch.errors import InputError
from ytf_torch.images.photos import SUFFIXES, read_photo

SHAPE = (3, 55, 47)
RNG = np.random.default_rng(3)
COLOURS = Image.fromarray(RNG.integers(0, 256, (70, 60, 3), np.uint8))
ALPHA = Image.fromarray(RNG.integers(0, 256, (70, 60), np.uint8))
GREY = COLOURS.convert("L")
PALETTE = COLOURS.quantize(64)


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    """Pixels (H, W, channels) as an image file."""
    Image.fromarray(pixels).save(path, **options)
    return path


def with_alpha(photo: Image.Image) -> Image.Image:
    copy = photo.copy()
    copy.putalpha(ALPHA)
    return copy


def over_black(photo: Image.Image) -> Image.Image:
    opaque = Image.new("RGB", photo.size)
    opaque.paste(photo.convert("RGBA"), mask=photo.convert("RGBA").getchannel("A"))
    return opaque


def sixteen_bits(photo: Image.Image, factor: int = 257) -> np.ndarray:
    """Scale its values to 16 bits; 257 = 65,535 / 255."""
    return np.asarray(photo).astype(np.uint16) * factor


def png_of_16_bits(values: np.ndarray, colour: int, transparent: bytes = b"") -> bytes:
    """A PNG, which Pillow itself cannot write. values: (H, W) or (H, W, channels), uint16."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    content += chunk(b"tRNS", transparent) if transparent else b""
    return content + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def same_as_rgb(path: Path, rendering: Image.Image) -> bool:
    """Whether a photo is read like its 8-bit RGB rendering."""
    assert rendering.mode == "RGB"
    rendering.save(path.with_name("rendering.png"))
    expected = read_photo(path.with_name("rendering.png"), SHAPE)
    return np.array_equal(read_photo(path, SHAPE).numpy(), expected.numpy())


@pytest.mark.parametrize("ending", [".png", ".webp", ".tiff", ".bmp", ".ppm"])
def test_lossless_formats_give_every_pixel(tmp_path: Path, ending: str) -> None:
    face = random_images(SMALL, 1)[0]
    options: dict[str, Any] = {"lossless": True} if ending == ".webp" else {}
    path = save(tmp_path / f"face{ending}", face.transpose(1, 2, 0), **options)
    assert ending in SUFFIXES
    assert np.array_equal(read_photo(path, SHAPE).numpy(), face)


@pytest.mark.parametrize(
    ("name", "photo", "rendering"),
    [
        ("black and white.png", COLOURS.convert("1"), COLOURS.convert("1").convert("RGB")),
        ("grey.png", GREY, GREY.convert("RGB")),
        ("grey with alpha.png", with_alpha(GREY), over_black(with_alpha(GREY))),
        ("grey with alpha.tif", with_alpha(GREY), over_black(with_alpha(GREY))),
        ("alpha.webp", with_alpha(COLOURS), over_black(with_alpha(COLOURS))),
        ("palette.png", PALETTE, PALETTE.convert("RGB")),
        ("palette.gif", PALETTE, PALETTE.convert("RGB")),
        ("palette.bmp", PALETTE, PALETTE.convert("RGB")),
        ("ink.tif", COLOURS.convert("CMYK"), COLOURS.convert("CMYK").convert("RGB")),
        ("16 bits.png", Image.fromarray(sixteen_bits(GREY)), GREY.convert("RGB")),
        ("16 bits of 256.png", Image.fromarray(sixteen_bits(GREY, 256)), GREY.convert("RGB")),
        ("16 bits.tif", Image.fromarray(sixteen_bits(GREY)), GREY.convert("RGB")),
    ],
)
def test_all_colour_modes_are_converted_to_8_bit_rgb(
    tmp_path: Path, name: str, photo: Image.Image, rendering: Image.Image
) -> None:
    options: dict[str, Any] = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    photo.save(tmp_path / name, **options)
    assert same_as_rgb(tmp_path / name, rendering)


@pytest.mark.parametrize(
    ("colour", "photo", "rendering"),
    [
        (0, GREY, GREY.convert("RGB")),
        (2, COLOURS, COLOURS),
        (4, with_alpha(GREY), over_black(with_alpha(GREY))),
        (6, with_alpha(COLOURS), over_black(with_alpha(COLOURS))),
    ],
)
def test_a_16_bit_png_is_converted_to_8_bit_rgb(
    tmp_path: Path, colour: int, photo: Image.Image, rendering: Image.Image
) -> None:
    (tmp_path / "a.png").write_bytes(png_of_16_bits(sixteen_bits(photo), colour))
    assert same_as_rgb(tmp_path / "a.png", rendering)


def test_a_cmyk_jpeg_is_converted_by_pillow(tmp_path: Path) -> None:
    COLOURS.convert("CMYK").save(tmp_path / "a.jpg")
    assert same_as_rgb(tmp_path / "a.jpg", Image.open(tmp_path / "a.jpg").convert("RGB"))


@pytest.mark.parametrize(
    ("photo", "ending"),
    [(GREY.convert("I"), "tif"), (GREY.convert("F"), "tif"), (Image.new("LAB", (60, 70)), "tif")],
)
def test_colours_that_8_bits_cannot_represent_are_refused(
    tmp_path: Path, photo: Image.Image, ending: str
) -> None:
    photo.save(tmp_path / f"a.{ending}")
    with pytest.raises(InputError, match=r"expected 8 or 16 bits a colour, found.*save it as RGB"):
        read_photo(tmp_path / f"a.{ending}", SHAPE)


@pytest.mark.parametrize(("colour", "photo"), [(0, GREY), (2, COLOURS)])
def test_a_transparent_16_bit_colour_is_refused(
    tmp_path: Path, colour: int, photo: Image.Image
) -> None:
    content = png_of_16_bits(sixteen_bits(photo), colour, bytes(2 if colour == 0 else 6))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="found a transparent 16-bit colour"):
        read_photo(tmp_path / "a.png", SHAPE)


@pytest.mark.parametrize("ending", ["png", "webp", "gif", "tif"])
def test_the_first_frame_is_used(tmp_path: Path, ending: str) -> None:
    others = [Image.new("RGB", COLOURS.size, (9, 9, 9))] * 3
    photo = PALETTE if ending == "gif" else COLOURS
    options: dict[str, Any] = {"lossless": True} if ending == "webp" else {}
    path = tmp_path / f"a.{ending}"
    photo.save(path, save_all=True, append_images=others, **options)
    assert same_as_rgb(path, photo.convert("RGB"))


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize(
    ("ending", "photo"),
    [("png", COLOURS), ("tif", COLOURS), ("png", Image.fromarray(sixteen_bits(GREY)))],
)
def test_every_exif_orientation_is_undone(
    tmp_path: Path, turned: int, ending: str, photo: Image.Image
) -> None:
    exif = Image.Exif()
    exif[0x0112] = turned
    photo.save(tmp_path / f"a.{ending}", exif=exif)
    plain = COLOURS if photo is COLOURS else GREY.convert("RGB")
    plain.save(tmp_path / "plain.png", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(tmp_path / "plain.png"))
    assert same_as_rgb(tmp_path / f"a.{ending}", upright)


def test_a_photo_of_the_models_size_keeps_every_pixel(tmp_path: Path) -> None:
    face = random_images(SMALL, 1)[0]
    path = save(tmp_path / "face.png", face.transpose(1, 2, 0))
    assert np.array_equal(read_photo(path, SHAPE).numpy(), face)


def test_the_centre_of_a_wide_photo_is_used(tmp_path: Path) -> None:
    photo = np.zeros((110, 300, 3), np.uint8)
    photo[:, 103:197] = (10, 20, 30)
    found = read_photo(save(tmp_path / "wide.png", photo), SHAPE)
    assert found.shape == SHAPE
    assert found[:, 5:50, 3:44].reshape(3, -1).unique(dim=1).flatten().tolist() == [10, 20, 30]


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_photos_become_rgb(tmp_path: Path, channels: int) -> None:
    photo = np.full((55, 47, channels), 200, np.uint8).squeeze()
    if channels == 4:
        photo[..., 3] = 0
    found = read_photo(save(tmp_path / "photo.png", photo), SHAPE)
    assert found.unique().tolist() == [0 if channels == 4 else 200]


def test_a_photo_is_rotated_by_its_exif_orientation(tmp_path: Path) -> None:
    upright = np.zeros((55, 47, 3), np.uint8)
    upright[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to view
    path = tmp_path / "turned.png"
    Image.fromarray(np.rot90(upright).copy()).save(path, exif=exif)
    assert np.array_equal(read_photo(path, SHAPE).permute(1, 2, 0).numpy(), upright)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "PNG, JPEG.*found an empty file"),
        (b"<html>", "PNG, JPEG.*found a web page"),
        (b"\0\0\0\x18ftypheic", "PNG, JPEG.*found a HEIC image.*Save it as PNG or JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG|damaged"),
    ],
)
def test_another_file_is_reported_by_its_kind(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "face.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_photo(path, SHAPE)


def test_a_truncated_photo_is_reported_with_its_file(tmp_path: Path) -> None:
    path = save(tmp_path / "face.png", random_images(SMALL, 1)[0].transpose(1, 2, 0))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="damaged photo"):
        read_photo(path, SHAPE)


def test_a_photo_may_have_50_megapixels_and_no_more(tmp_path: Path) -> None:
    Image.new("L", (10_000, 5_001)).save(tmp_path / "large.png")
    with pytest.raises(InputError, match="at most 50,000,000 pixels, found 50,010,000"):
        read_photo(tmp_path / "large.png", SHAPE)
