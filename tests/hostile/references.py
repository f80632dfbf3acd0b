"""Attacks by a reference: an .npz, which is a zip of NumPy arrays."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np

from tests.hostile.corpus import Corpus, written

ATTACKS = Corpus()


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
    ATTACKS.add(name, written("a.npz", npz(GOOD | {"input.npy": content})), "a.npz")
ATTACKS.add(
    "100 megabytes of zeros",
    lambda f: written(
        "a.npz", npz(GOOD | {"input.npy": npy(header("(134217728,)", "|u1"), bytes(2**27))})
    )(f),
    "at most",
    heavy=True,
)
ATTACKS.add(
    "a hundred thousand members",
    lambda f: written("a.npz", npz(GOOD | {f"{index}": b"" for index in range(70_000)}))(f),
    "too many members",
    heavy=True,
)
ATTACKS.add("a member missing", written("a.npz", npz({"input.npy": array(1.0)})), "logits")
ATTACKS.add("no zip", written("a.npz", b"\x80\x04K\x01."), "expected an .npz.*a pickle")
ATTACKS.add("an .npy", written("a.npz", array(np.zeros(3))), "expected an .npz.*NumPy array")
ATTACKS.add("members outside", written("a.npz", npz({"../../input.npy": b""})), "no.*input|input")
ATTACKS.add("cut off", written("a.npz", npz(GOOD)[:-30]), "cut off|something else")
