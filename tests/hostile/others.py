"""Attacks by converted models, settings and things that are no files."""

from __future__ import annotations

import json
import os
import socket
import struct
from pathlib import Path
from typing import Any

from tests.hostile.corpus import Corpus, written

CONVERTED, SETTINGS, NO_FILES = (Corpus() for _ in range(3))


# Converted models.
def safetensors(
    header: bytes | dict[str, Any], data: bytes = b"", length: int | None = None
) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


OURS = {"format": "ytf-torch/2", "network": "DeepID", "pixel_scale": "1", "classes": "7"}
OURS |= {"input_shape": "[3, 55, 47]", "source_sha256": '"00"', "converter_version": '"0"'}
OURS |= {"source_file": '"net.h5"', "keras_version": '"2.14.0"', "mask": "null", "history": "[]"}


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
    "history": json.dumps(["step"] * 10_000),
    "input_shape": "[3, 1e400, 47]",
    "classes": "9" * 5000,
    "pixel_scale": "NaN",
}.items():
    CONVERTED.add(
        f"metadata: {key}",
        written("net.safetensors", safetensors({"__metadata__": OURS | {key: value}})),
        f"metadata {key}",
    )
for name, record in {
    "100,000 deep": "[" * 100_000,
    "900 deep": "[" * 900 + "]" * 900,
    "no number": '{"scale": ["x"]}',
    "infinite": '{"offset": Infinity}',
    "of 5,000 digits": '{"offset": ' + "9" * 5000 + "}",
}.items():
    told = OURS | {"format": "ytf-torch/4", "preprocessing": record}
    CONVERTED.add(
        f"metadata: preprocessing, {name}",
        written("net.safetensors", safetensors({"__metadata__": told})),
        "metadata preprocessing",
    )
CONVERTED.add(
    "a pickle", written("net.safetensors", b"\x80\x04cos\nsystem\n(S'id'\ntR."), "neither"
)
CONVERTED.add("a zip of PyTorch", written("net.safetensors", b"PK\x03\x04" + bytes(99)), "cut off")


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
    "1,399 drops": f"drops = {[f'{number / 50:.2f}' for number in range(1, 1400)]}",
    "8,000 drops in a text": f'drops = "{"1," * 8000}"',
    "300 triggered sets": f"poisoned_test = {['bd.h5'] * 300}",
    "2,000 keys": "\n".join(f"k{number} = 1" for number in range(2000)),
    "a dotted key of 8,000 parts": "model" + ".a" * 8_000 + " = 1",
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
    "preprocessing",
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
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))
    return folder / "x.h5"


@NO_FILES("a link to itself", "no such file|cannot be read")
def link_loop(folder: Path) -> Path:
    (folder / "x.h5").symlink_to("x.h5")
    return folder / "x.h5"


NO_FILES.add("an endless device", lambda _: Path("/dev/zero"), "not a file")
NO_FILES.add("a terminal", lambda _: Path("/dev/tty"), "not a file")
NO_FILES.add("a folder", lambda folder: folder, "not a file|no photo|lies in")
NO_FILES.add("a long name", lambda folder: folder / ("x" * 5000), "cannot be read|no such file")
NO_FILES.add("a missing file", lambda folder: folder / "\x1b[31m\u202e.h5", r"no such file")
NO_FILES.add("kernel memory", lambda _: Path("/proc/self/mem"), None)
