"""What kind of zip archive a file is, by the names of its members; none is unpacked.

The list of members stands at the end of a zip, which may begin with anything: zipfile, and so
Keras, takes a file for one that ends as one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ytf_torch.disk.file_kind import EXPORTED, LOAD_WEIGHTS, SAVE_IN_KERAS, SAVED_MODEL, FileKind

ZIP_START = b"PK\x03\x04"
END, END_LENGTH = b"PK\x05\x06", 22
ENTRY, ENTRY_LENGTH = b"PK\x01\x02", 46
# What stands before the end where an archive may have more than 65,535 members or 4 GiB, as all of
# PyTorch's: the end once more in wider numbers, and where that stands.
WIDE, WIDE_LENGTH = b"PK\x06\x06", 56
LOCATOR, LOCATOR_LENGTH = b"PK\x06\x07", 20
# The end with the longest comment, and before it the names of some hundred members.
TAIL_BYTES = 2 * 2**16
MOST_NAMES = 1000

KERAS_ARCHIVE = FileKind("a Keras 3 model (.keras)")
KERAS_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
PACKED_FOLDER = FileKind(
    "a .keras that was unpacked and packed again as a folder",
    "Pack what is in the folder instead of the folder, or save it again with model.save('….keras')",
)
NUMPY = FileKind("a NumPy archive (.npz)")
PICKLES = FileKind(
    "a PyTorch file, whose pickles could run code and are never opened", LOAD_WEIGHTS
)
TORCHSCRIPT = FileKind(
    "a TorchScript program of PyTorch, which holds code and is never opened", EXPORTED
)
PT2 = FileKind("an exported PyTorch program (.pt2)", EXPORTED)
ZIPPED_SAVED_MODEL = FileKind("a zip archive of TensorFlow's SavedModel", SAVED_MODEL)
TENSORFLOW_JS = FileKind("a zip archive of a TensorFlow.js model", SAVE_IN_KERAS)
UNKNOWN_ZIP = FileKind("a zip archive", "Unpack it first")
# What one of the members' names ends with, in the order in which they are looked for.
ENDINGS = {
    "serialized_exported_program.json": PT2,
    "data/weights/weight_0": PT2,
    "archive_format": PT2,
    "constants.pkl": TORCHSCRIPT,
    "data.pkl": PICKLES,
    "saved_model.pb": ZIPPED_SAVED_MODEL,
    "-shard1of1.bin": TENSORFLOW_JS,
}


def is_zip(path: Path) -> bool:
    """Whether a file begins or ends as a zip archive does."""
    with path.open("rb") as file:
        return file.read(len(ZIP_START)) == ZIP_START or _list_of_members(file) is not None


def zip_kind(path: Path) -> FileKind:
    """What a zip archive is."""
    names = member_names(path)
    if any(name in names for name in KERAS_MEMBERS):
        return KERAS_ARCHIVE
    if any(name.rpartition("/")[2] in KERAS_MEMBERS[::2] for name in names):
        return PACKED_FOLDER
    if names and names[0].endswith(".npy"):
        return NUMPY
    for ending, kind in ENDINGS.items():
        if any(name.endswith(ending) for name in names):
            return kind
    return UNKNOWN_ZIP


def member_names(path: Path) -> Sequence[str]:
    """The names of a zip's members, the first of many; of a truncated one, the first alone."""
    with path.open("rb") as file:
        head = file.read(512)
        listed = _list_of_members(file) or b""
    names: list[str] = []
    at = 0
    while listed.startswith(ENTRY, at) and len(names) < MOST_NAMES:
        name, extra, comment = (
            int.from_bytes(listed[at + field : at + field + 2], "little") for field in (28, 30, 32)
        )
        names.append(listed[at + ENTRY_LENGTH : at + ENTRY_LENGTH + name].decode("latin-1"))
        at += ENTRY_LENGTH + name + extra + comment
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")].decode("latin-1")
    return names or [first]


def _list_of_members(file: BinaryIO) -> bytes | None:
    """The list of members as it is stored, its last part where it is long; None where a file does
    not end as a zip archive does."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - TAIL_BYTES, 0))
    tail = file.read()
    end = tail.rfind(END)
    if end < 0 or end + END_LENGTH > len(tail):
        return None
    length = int.from_bytes(tail[end + 12 : end + 16], "little")
    if tail.startswith(LOCATOR, end - LOCATOR_LENGTH):
        end -= LOCATOR_LENGTH + WIDE_LENGTH
        if end < 0 or not tail.startswith(WIDE, end):
            return b""
        length = int.from_bytes(tail[end + 40 : end + 48], "little")
    if length == 0:
        return b"" if tail[end + 10 : end + 12] == bytes(2) else None
    start = size - len(tail) + end - length
    if start < 0:
        return None
    file.seek(start)
    listed = file.read(min(length, TAIL_BYTES))
    return listed if listed.startswith(ENTRY) else None
