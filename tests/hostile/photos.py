"""Attacks by a photo."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile.corpus import Builder, Corpus, packed_zeros, written

ATTACKS = Corpus()


def png(width: int, height: int, colour: int = 2, chunks: bytes = b"", rows: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunks + chunk(b"IDAT", rows or zlib.compress(bytes(2**20), 9))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def image(kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
    Image.fromarray(noise).save(content, kind, **options)
    return content.getvalue()


def bomb(kind: bytes, prefix: bytes) -> bytes:
    """A PNG with a compressed text or profile of 1 GB."""
    return png(50, 60, chunks=chunk(kind, prefix + packed_zeros(64)))


def many_scans() -> bytes:
    """A progressive JPEG of 16 megapixels whose last scan comes ten thousand times."""
    content = io.BytesIO()
    Image.new("L", (4000, 4000)).save(content, "JPEG", progressive=True)
    whole = content.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * 10_000 + b"\xff\xd9"


ATTACKS.add("50,000×50,000 pixels", written("a.png", png(50_000, 50_000)), "pixels")
ATTACKS.add("a 4-billion-pixel line", written("a.png", png(2**31 - 1, 2)), "at most|damaged")
ATTACKS.add("no pixels", written("a.png", png(0, 0)), "damaged|expected")
ATTACKS.add(
    "49 megapixels in one kilobyte", written("a.png", png(7000, 7000)), "damaged", heavy=True
)
ATTACKS.add("unknown colours", written("a.png", png(50, 60, colour=77)), None)
ATTACKS.add(
    "a profile of 1 GB", lambda f: written("a.png", bomb(b"iCCP", b"x\0\0"))(f), None, heavy=True
)
ATTACKS.add(
    "a text of 1 GB", lambda f: written("a.png", bomb(b"zTXt", b"x\0\0"))(f), None, heavy=True
)
ATTACKS.add(
    "ten thousand scans",
    lambda f: written("a.jpg", many_scans())(f),
    "longer than allowed",
    heavy=True,
)
for words, content in {
    "a PostScript document": b"%!PS-Adobe-3.0 EPSF-3.0\n(x) run\n",
    "an SVG drawing": b"<svg onload='alert(1)'/>",
    "a JPEG 2000 image": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99),
    "a HEIC image": b"\0\0\0\x18ftypheic" + bytes(99),
    "a pickle": b"\x80\x04cos\nsystem\n(S'id'\ntR.",
    "an empty file": b"",
}.items():
    ATTACKS.add(f"{words} that says PNG", written("a.png", content), f"PNG, JPEG.*found {words}")
for kind in ("PNG", "JPEG"):
    whole = image(kind)
    for kept in (3, 10, 40, 100, 500, len(whole) // 2):
        ATTACKS.add(f"{kind} cut off after {kept}", written("a.png", whole[:kept]), "a.png")


def flooded(kind: bytes, after: bool) -> Builder:
    """A PNG with five million empty chunks before or after its pixels."""
    flood = chunk(kind, b"") * 5_000_000

    def build(folder: Path) -> Path:
        rows = zlib.compress((b"\0" + bytes(150)) * 60)
        whole = png(50, 60, chunks=b"" if after else flood, rows=rows)
        content = whole[:-12] + flood + whole[-12:] if after else whole
        return written("a.png", content)(folder)

    return build


def saved(ending: str, photo: Image.Image, **options: Any) -> Builder:
    def build(folder: Path) -> Path:
        photo.save(folder / f"a.{ending}", **options)
        return folder / f"a.{ending}"

    return build


ATTACKS.add(
    "five million chunks before the pixels",
    flooded(b"prVt", after=False),
    "longer than allowed",
    True,
)
ATTACKS.add(
    "five million chunks behind the pixels",
    flooded(b"IDAT", after=True),
    "longer than allowed",
    True,
)
ATTACKS.add(
    "60 megapixels as plain text",
    lambda folder: written("a.ppm", b"P2\n9000 6700\n255\n" + b"1 " * 2_000_000)(folder),
    "at most 50,000,000 pixels",
)
ATTACKS.add(
    "40 megapixels as plain text",
    lambda folder: written("a.ppm", b"P2\n8000 5000\n255\n" + b"1 " * 40_000_000)(folder),
    "longer than allowed|more memory than allowed|damaged",
    heavy=True,
)
BLACK = Image.new("1", (16_000, 16_000))
for ending, options in {
    "webp": {"lossless": True},
    "gif": {},
    "tif": {"compression": "group4"},
    "png": {},
}.items():
    black = BLACK if ending != "webp" else Image.new("L", (16_000, 4_000))
    ATTACKS.add(
        f"many black pixels in a small .{ending}", saved(ending, black, **options), "pixels"
    )
for mode in ("I", "F", "LAB"):
    ATTACKS.add(
        f"colours of mode {mode}", saved("tif", Image.new(mode, (50, 60))), "8 or 16 bits a colour"
    )
TIFF = io.BytesIO()
Image.new("RGB", (50, 60)).save(TIFF, "TIFF", compression="tiff_adobe_deflate")
for name, at, number in (("a folder of tags that leads to itself", 4, 4), ("no tags", 4, 2**31)):
    changed = bytearray(TIFF.getvalue())
    changed[at : at + 4] = struct.pack("<I", number)
    ATTACKS.add(f"TIFF: {name}", written("a.tif", bytes(changed)), "a.tif")
