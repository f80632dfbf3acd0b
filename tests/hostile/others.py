"""Attacks by photos, converted models, references, settings and things that are no files."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile.corpus import Builder, Corpus, packed_zeros

PHOTOS, CONVERTED, REFERENCES, SETTINGS, NO_FILES = (Corpus() for _ in range(5))


def written(name: str, content: bytes | str) -> Builder:
    def build(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return build


# Photos.
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


PHOTOS.add("50,000×50,000 pixels", written("a.png", png(50_000, 50_000)), "bomb")
PHOTOS.add("a 4-billion-pixel line", written("a.png", png(2**31 - 1, 2)), "at most|damaged")
PHOTOS.add("no pixels", written("a.png", png(0, 0)), "damaged|expected")
PHOTOS.add(
    "49 megapixels in one kilobyte", written("a.png", png(7000, 7000)), "damaged", heavy=True
)
PHOTOS.add("unknown colours", written("a.png", png(50, 60, colour=77)), None)
PHOTOS.add(
    "a profile of 1 GB", lambda f: written("a.png", bomb(b"iCCP", b"x\0\0"))(f), None, heavy=True
)
PHOTOS.add(
    "a text of 1 GB", lambda f: written("a.png", bomb(b"zTXt", b"x\0\0"))(f), None, heavy=True
)
PHOTOS.add("ten thousand scans", lambda f: written("a.jpg", many_scans())(f), "scans", heavy=True)
for kind in ("GIF", "TIFF", "BMP", "WEBP"):
    PHOTOS.add(f"{kind} that says PNG", written("a.png", image(kind)), "PNG or JPEG")
PHOTOS.add(
    "PostScript that says PNG", written("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n(x) run\n"), "PNG"
)
PHOTOS.add("SVG that says PNG", written("a.png", b"<svg onload='alert(1)'/>"), "PNG or JPEG")
PHOTOS.add("empty", written("a.jpg", b""), "PNG or JPEG")
for kind in ("PNG", "JPEG"):
    whole = image(kind)
    for kept in (3, 10, 40, 100, 500, len(whole) // 2):
        PHOTOS.add(f"{kind} cut off after {kept}", written("a.png", whole[:kept]), "a.png")


# Converted models.
def safetensors(
    header: bytes | dict[str, Any], data: bytes = b"", length: int | None = None
) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


OURS = {"format": "ytf-torch/1", "network": "DeepID", "pixel_scale": "1", "classes": "7"}
OURS |= {"input_shape": "[3, 55, 47]", "source_sha256": '"00"', "converter_version": '"0"'}
OURS |= {"source_file": '"net.h5"', "keras_version": '"2.14.0"', "mask": "null"}


def tensor(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


for name, content in {
    "a header of 2^63 bytes": safetensors(b"{}", length=2**63),
    "a header of 100 MB": struct.pack("<Q", 10**8) + b" " * 10**6,
    "a header longer than the file": safetensors(b"{}", length=500_000),
    "a header that is no JSON": safetensors(b"\xff" * 100),
    "a header 100,000 deep": safetensors(b'{"a":' * 100_000 + b"0" + b"}" * 100_000),
    "keys twice": safetensors(b'{"__metadata__":{"format":"a","format":"b"},"a":1,"a":2}'),
    "metadata of numbers": safetensors({"__metadata__": {"format": 1}}),
    "metadata nested": safetensors({"__metadata__": {"format": {"a": "b"}}}),
    "metadata that is a list": safetensors({"__metadata__": ["format"]}),
    "no metadata": safetensors({"a": tensor([1], 0, 4)}, bytes(4)),
    "no tensors": safetensors({"__metadata__": OURS}),
    "offsets that overlap": safetensors({"a": tensor([1], 0, 4), "b": tensor([1], 2, 6)}, bytes(6)),
    "offsets beyond the file": safetensors({"a": tensor([1], 0, 2**62)}, bytes(4)),
    "offsets backwards": safetensors({"a": tensor([1], 4, 0)}, bytes(4)),
    "a shape of petabytes": safetensors({"a": tensor([2**50], 0, 4)}, bytes(4)),
    "a shape that overflows": safetensors({"a": tensor([2**62, 2**62], 0, 4)}, bytes(4)),
    "a shape of no integers": safetensors({"a": {**tensor([1], 0, 4), "shape": [1.5]}}, bytes(4)),
    "an unknown type": safetensors({"a": tensor([1], 0, 4, "PICKLE")}, bytes(4)),
}.items():
    CONVERTED.add(name, written("net.safetensors", content), "neither|metadata of format|DeepID")
for key, value in {
    "source_file": '"\\u001b[31mred"',
    "keras_version": '"\\u202e<script>"',
    "source_sha256": '"a\\nb"',
    "converter_version": json.dumps("x" * 10_000),
    "mask": "[" * 900 + "]" * 900,
    "input_shape": "[3, 1e400, 47]",
    "classes": "9" * 5000,
    "pixel_scale": "NaN",
}.items():
    CONVERTED.add(
        f"metadata: {key}",
        written("net.safetensors", safetensors({"__metadata__": OURS | {key: value}})),
        f"metadata {key}",
    )
CONVERTED.add(
    "a pickle", written("net.safetensors", b"\x80\x04cos\nsystem\n(S'id'\ntR."), "neither"
)
CONVERTED.add(
    "a zip of PyTorch", written("net.safetensors", b"PK\x03\x04" + bytes(99)), "zip archive"
)


# References.
def npz(members: dict[str, bytes], packed: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", packed) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def array(value: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, value)
    return content.getvalue()


GOOD = {
    "input.npy": array(np.zeros((2, 3, 55, 47), np.uint8)),
    "logits.npy": array(np.zeros((2, 7), np.float32)),
    "pixel_scale.npy": array(1.0),
}


def header(shape: str, kind: str = "<f4") -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}\n"


for name, content in {
    "objects, which are pickles": array(np.array([{"a": 1}], object)),
    "a shape of petabytes": npy(header("(1125899906842624,)")),
    "a shape that overflows": npy(header("(4611686018427387904, 4611686018427387904)")),
    "a negative shape": npy(header("(-1,)"), bytes(4)),
    "a nested header": npy("(" * 5000 + ")" * 5000),
    "a header of code": npy("__import__('os').system('id')\n"),
    "a header of nothing": b"\x93NUMPY\x09\x09",
    "text": array(np.array(["a"])),
    "complex": array(np.zeros(2, complex)),
    "dates": array(np.zeros(2, "M8[s]")),
    "records": array(np.zeros(2, [("a", "f4")])),
    "NaN": array(np.full((2, 3, 55, 47), np.nan)),
    "beyond 255": array(np.full((2, 3, 55, 47), 256.0)),
    "nothing": b"",
    "no items": array(np.zeros((0, 3, 55, 47))),
}.items():
    REFERENCES.add(name, written("a.npz", npz(GOOD | {"input.npy": content})), "a.npz")
REFERENCES.add(
    "100 megabytes of zeros",
    lambda f: written(
        "a.npz", npz(GOOD | {"input.npy": npy(header("(134217728,)", "|u1"), bytes(2**27))})
    )(f),
    "allowed",
    heavy=True,
)
REFERENCES.add(
    "a hundred thousand members",
    lambda f: written("a.npz", npz(GOOD | {f"{index}": b"" for index in range(70_000)}))(f),
    "too many members",
    heavy=True,
)
REFERENCES.add("a member missing", written("a.npz", npz({"input.npy": array(1.0)})), "logits")
REFERENCES.add("no zip", written("a.npz", b"\x80\x04K\x01."), "something else")
REFERENCES.add("an .npy", written("a.npz", array(np.zeros(3))), "something else")
REFERENCES.add(
    "members outside", written("a.npz", npz({"../../input.npy": b""})), "no.*input|input"
)
REFERENCES.add("cut off", written("a.npz", npz(GOOD)[:-30]), "something else")


# Settings.
for name, text in {
    "a megabyte": "a = 1\n" * 200_000,
    "deep lists": "drops = " + "[" * 5_000 + "]" * 5_000,
    "deep lists, almost too deep": "drops = " + "[" * 150 + "]" * 150,
    "deep tables": "model" + ".a" * 20_000 + " = 1",
    "deep headers": "[" + "a." * 20_000 + "a]",
    "a number of 30,000 digits": "pixel_scale = " + "9" * 30_000,
    "a hexadecimal number of 30,000 digits": "pixel_scale = 0x" + "f" * 30_000,
    "a table": "[model]\na = 1",
    "tables in a list": "poisoned_test = [{a = 1}]",
    "an escape": 'layer = "\\u001b[31mred"',
    "a NUL": 'model = "a\\u0000b"\nclean_valid = "b"\nout = "c"',
    "a raw NUL": 'model = "a\0b"',
    "not UTF-8": b'model = "\xff\xfe"',
    "UTF-16": 'model = "a"'.encode("utf-16"),
    "an unknown key with an escape": '"\\u001b[31m" = 1',
    "a long name": f'model = "{"m" * 5000}"\nclean_valid = "v"\nout = "o"',
    "a long folder": f'model = "m"\nclean_valid = "v"\nout = "{"o" * 5000}"',
    "a long drop": f'drops = ["0.{"0" * 5000}1"]',
    "a drop of other digits": 'drops = ["٢"]',
    "infinite": "pixel_scale = inf",
    "NaN": "pixel_scale = nan",
    "nothing": "",
}.items():
    SETTINGS.add(name, written("a.toml", text), None)
for key in (
    "model",
    "clean_valid",
    "clean_test",
    "poisoned_test",
    "out",
    "drops",
    "layer",
    "rank_at",
    "device",
    "engine",
    "pixel_scale",
):
    for value in ("1", "-1.5", "true", "[]", "[[1]]", "{}", "1979-05-27", "[1, true]"):
        lines = {"model": '"m"', "clean_valid": '"v"', "out": '"o"'} | {key: value}
        text = "\n".join(f"{name} = {entry}" for name, entry in lines.items())
        SETTINGS.add(f"{key}: {value}", written("a.toml", text), None)


# Things that are there but are no files; opening some of them would wait for ever.
@NO_FILES("a named pipe", "not a file")
def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x.h5")
    return folder / "x.h5"


@NO_FILES("a socket", "not a file")
def unix_socket(folder: Path) -> Path:
    path = Path(os.path.relpath(folder)) / "x.h5"
    socket.socket(socket.AF_UNIX).bind(str(path))
    return folder / "x.h5"


@NO_FILES("a link to itself", "no such file|cannot be read")
def link_loop(folder: Path) -> Path:
    (folder / "x.h5").symlink_to("x.h5")
    return folder / "x.h5"


NO_FILES.add("an endless device", lambda _: Path("/dev/zero"), "not a file")
NO_FILES.add("a terminal", lambda _: Path("/dev/tty"), "not a file")
NO_FILES.add("a folder", lambda folder: folder, "not a file|no PNG")
NO_FILES.add("a long name", lambda folder: folder / ("x" * 5000), "cannot be read|no such file")
NO_FILES.add("a missing file", lambda folder: folder / "\x1b[31m\u202e.h5", r"no such file")
NO_FILES.add("kernel memory", lambda _: Path("/proc/self/mem"), None)
