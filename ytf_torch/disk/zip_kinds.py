"""Recognises kinds of zip archives by the names of their members; no member is unpacked.

A zip's list of members, its central directory, is at the end. A file may begin with anything and
still be a zip: zipfile, and therefore Keras, looks at the end alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ytf_torch.disk.file_kind import EXPORTED, LOAD_WEIGHTS, SAVE_IN_KERAS, SAVED_MODEL, FileKind

ZIP_START = b"PK\x03\x04"
# End of central directory record, and a central directory entry, without its name and comment.
END, END_LENGTH = b"PK\x05\x06", 22
ENTRY, ENTRY_LENGTH = b"PK\x01\x02", 46
# Zip64, for archives that may exceed 65,535 members or 4 GiB, as all of PyTorch's: a second end
# record with wider numbers, and the locator of that record.
WIDE, WIDE_LENGTH = b"PK\x06\x06", 56
LOCATOR, LOCATOR_LENGTH = b"PK\x06\x07", 20
# Covers the end record with the longest comment (64 KiB), and about a hundred members before it.
TAIL_BYTES = 2 * 2**16
MOST_NAMES = 1000  # enough to recognise a kind

KERAS_ARCHIVE = FileKind("a Keras 3 model (.keras)")
KERAS_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
PACKED_FOLDER = FileKind(
    "a .keras that was unpacked and packed again as a folder",
    "Pack the folder's content instead of the folder, or save it again with model.save('….keras')",
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
# Kinds by the ending of any member's name; the first match decides.
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
    """Whether a file begins or ends like a zip archive."""
    with path.open("rb") as file:
        return file.read(len(ZIP_START)) == ZIP_START or _central_directory(file) is not None


def zip_kind(path: Path) -> FileKind:
    """The kind of a zip archive."""
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
    """The names of a zip's members, at most MOST_NAMES; only the first one if it is truncated."""
    with path.open("rb") as file:
        head = file.read(512)
        directory = _central_directory(file) or b""
    names: list[str] = []
    at = 0
    while directory.startswith(ENTRY, at) and len(names) < MOST_NAMES:
        # The lengths of the entry's name, extra field and comment.
        name, extra, comment = (
            int.from_bytes(directory[at + field : at + field + 2], "little")
            for field in (28, 30, 32)
        )
        names.append(directory[at + ENTRY_LENGTH : at + ENTRY_LENGTH + name].decode("latin-1"))
        at += ENTRY_LENGTH + name + extra + comment
    # The local header of the first member: length of its name at 26, the name at 30.
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")].decode("latin-1")
    return names or [first]


def _central_directory(file: BinaryIO) -> bytes | None:
    """The bytes of the central directory, at most its first TAIL_BYTES; None if a file does not end
    like a zip archive."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - TAIL_BYTES, 0))
    tail = file.read()
    end = tail.rfind(END)
    if end < 0 or end + END_LENGTH > len(tail):
        return None
    length = int.from_bytes(tail[end + 12 : end + 16], "little")  # of the central directory
    if tail.startswith(LOCATOR, end - LOCATOR_LENGTH):
        end -= LOCATOR_LENGTH + WIDE_LENGTH
        if end < 0 or not tail.startswith(WIDE, end):
            return b""
        length = int.from_bytes(tail[end + 40 : end + 48], "little")
    if length == 0:  # an empty zip has no members; anything else is no zip
        return b"" if tail[end + 10 : end + 12] == bytes(2) else None
    # The directory ends where the end record begins. Its stored offset is not used: it is wrong
    # for a zip that has been appended to another file.
    start = size - len(tail) + end - length
    if start < 0:
        return None
    file.seek(start)
    directory = file.read(min(length, TAIL_BYTES))
    return directory if directory.startswith(ENTRY) else None
