"""Attacks by a reference: an .npz, which is a zip of NumPy arrays."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np

from tests.hostile.corpus import Corpus, packed_zeros, written

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
ATTACKS.add("cut off", written("a.npz", npz(GOOD)[:-30]), "truncated|something else")


def zip_of(members: dict[str, tuple[int, bytes, int]]) -> bytes:
    """An archive of members given as (method, packed content, the size that they say they have)."""
    content, listed = b"", b""
    for name, (method, packed, size) in members.items():
        sizes = struct.pack("<III", 0, len(packed), size)
        start = struct.pack("<HHHHH", 20, 0, method, 0, 0) + sizes
        listed += b"PK\1\2" + struct.pack("<H", 20) + start
        listed += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, len(content)) + name.encode()
        content += b"PK\3\4" + start + struct.pack("<HH", len(name), 0) + name.encode() + packed
    count = len(members)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(listed), len(content), 0)
    return content + listed + b"PK\5\6" + end


def lying(method: int, packed: bytes, says: int) -> bytes:
    """A reference whose input says that it has another size than it has."""
    others = {name: (0, content, len(content)) for name, content in GOOD.items()}
    return zip_of(others | {"input.npy": (method, packed, says)})


for name, content in {
    "long doubles": array(np.zeros((2, 3, 55, 47), np.longdouble)),
    "truth values": array(np.zeros((2, 3, 55, 47), bool)),
    "a header of minus signs": npy("-" * 9000 + "1"),
    "a header of digits": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000),
    "a header of quotes": npy("'" * 9001),
    "a type of types": npy("{'descr': [('a', [('b', '<f4')])], 'fortran_order': 0, 'shape': ()}"),
}.items():
    ATTACKS.add(name, written("a.npz", npz(GOOD | {"input.npy": content})), "input.npy")
ATTACKS.add("a stored member that says less", written("a.npz", lying(0, bytes(5000), 9)), "a.npz")
ATTACKS.add("a stored member that says more", written("a.npz", lying(0, b"1", 10**6)), "a.npz")
ATTACKS.add(
    "2 GB that say they are 1,000 bytes",
    lambda folder: written("a.npz", lying(8, packed_zeros(128)[2:-4], 1000))(folder),
    "a.npz",
    heavy=True,
)
for packing in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
    ATTACKS.add(
        f"100 MB by compression method {packing}",
        lambda f, packing=packing: written(
            "a.npz", npz({**GOOD, "input.npy": bytes(10**8)}, packing)
        )(f),
        "stored or deflated",
        heavy=True,
    )
