"""What kind of file a path leads to, and whether it may be read."""

from __future__ import annotations

import os
from pathlib import Path

from ytf_torch.disk.file_kind import EXPORTED, LOAD_WEIGHTS, SAVE_IN_KERAS, SAVED_MODEL, FileKind
from ytf_torch.disk.zip_kinds import (
    KERAS_ARCHIVE,
    NUMPY,
    UNKNOWN_ZIP,
    ZIP_START,
    is_zip,
    zip_kind,
)
from ytf_torch.errors import InputError, mismatch

__all__ = ["KERAS_ARCHIVE", "UNKNOWN_ZIP", "ZIP_START", "FileKind", "is_zip"]

HDF5_START = b"\x89HDF\r\n\x1a\n"
# Where HDF5's signature may stand: at the start, or behind a user block of this length or twice,
# four times … as much. MATLAB writes one.
SMALLEST_USER_BLOCK = 512
# The start of a file, by which its kind is recognised.
HEAD_BYTES = 512


UNKNOWN = FileKind("something else")
# PyTorch saved its files as plain pickles until version 1.6.
PICKLE = FileKind("a pickle, which could run code and is never opened", LOAD_WEIGHTS)
SAFETENSORS = FileKind("a safetensors file")
EMPTY = FileKind("an empty file", "Download it again, or save it again")
LFS_POINTER = FileKind(
    "a Git LFS pointer, which only says where the file is", "Fetch it with git lfs pull"
)
WEB_PAGE = FileKind("a web page, saved in place of the file", "Download the file itself")
# By the bytes that a file starts with.
STARTS = {
    b"version https://git-lfs": LFS_POINTER,
    b"\x93NUMPY": FileKind("a NumPy array (.npy)"),
    b"\x89PNG": FileKind("a PNG photo"),
    b"\xff\xd8\xff": FileKind("a JPEG photo"),
    b"GIF8": FileKind("a GIF picture"),
    b"II*\0": FileKind("a TIFF picture"),
    b"MM\0*": FileKind("a TIFF picture"),
    b"\0\0\0\x0cJXL": FileKind("a JPEG XL picture"),
    b"\xff\x0a": FileKind("a JPEG XL picture"),
    b"\0\0\0\x0cjP": FileKind("a JPEG 2000 picture"),
    b"8BPS": FileKind("a Photoshop document"),
    b"%PDF": FileKind("a PDF document"),
    b"%!PS": FileKind("a PostScript document"),
    b"\x1f\x8b": FileKind("a gzip archive", "Unpack it first"),
    b"7z\xbc\xaf": FileKind("a 7z archive", "Unpack it first"),
    b"Rar!": FileKind("a RAR archive", "Unpack it first"),
    b"BZh": FileKind("a bzip2 archive", "Unpack it first"),
    b"\xfd7zXZ": FileKind("an xz archive", "Unpack it first"),
    b"MATLAB 5.0": FileKind("a MATLAB file"),
    b"\x80\x02": PICKLE,
    b"\x80\x03": PICKLE,
    b"\x80\x04": PICKLE,
    b"\x80\x05": PICKLE,
}
HDF5 = FileKind("an HDF5 file")
ONNX = FileKind("an ONNX file", EXPORTED)
SAVED_MODEL_FILE = FileKind("a file of a TensorFlow SavedModel, which is a folder", SAVED_MODEL)
TFLITE = FileKind("a TensorFlow Lite model", EXPORTED)
SEVERAL = FileKind(
    "several formats at once, of which each program opens another",
    "Save it again with the program that made it",
)
# JSON that belongs to a model, by a key that only it has.
JSON_KINDS = {
    b'"weight_map"': FileKind(
        "the list of weights that were saved in several files",
        "Load them in Keras, and save one file with model.save('….keras')",
    ),
    b'"weightsmanifest"': FileKind("a TensorFlow.js model", SAVE_IN_KERAS),
    b'"modeltopology"': FileKind("a TensorFlow.js model", SAVE_IN_KERAS),
    b'"class_name"': FileKind("a Keras configuration without weights", SAVE_IN_KERAS),
}
CHECKPOINT = FileKind("the list of TensorFlow's checkpoints", SAVE_IN_KERAS)
# By the brand behind "ftyp", in which telephones' formats differ.
BRANDS = {b"avif": "an AVIF picture", b"avis": "an AVIF picture", b"qt  ": "a QuickTime film"}


def kind_of(path: Path) -> FileKind:
    """What a file is, by its content. Raises InputError where it cannot be read.

    >>> kind_of(Path("bd_net.h5")) == kind_of(Path("bd_net.safetensors"))
    False
    >>> kind_of(Path("bd_net.safetensors")).words
    'a safetensors file'
    """
    with checked_file(path).open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return EMPTY
    hdf5, zipped, own = is_hdf5(path), is_zip(path), _is_safetensors(head)
    if hdf5 + zipped + own > 1 and not _is_member(path, head):
        return SEVERAL
    if zipped:
        return zip_kind(path)
    return HDF5 if hdf5 else SAFETENSORS if own else _kind_by_start(head)


def _is_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32


def _is_member(path: Path, head: bytes) -> bool:
    """Whether a .keras archive is one alone, though the weights in it happen to begin where HDF5
    looks for a file's own beginning: Keras takes a zip of that ending for one."""
    if not (head.startswith(ZIP_START) and path.name.endswith(".keras")):
        return False
    name = b"model.weights.h5"
    with path.open("rb") as file:
        file.seek(_hdf5_start(path) - len(name))
        return file.read(len(name)) == name


def _kind_by_start(head: bytes) -> FileKind:
    for start, kind in STARTS.items():
        if head.startswith(start):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return FileKind("a WebP picture")
    if head[4:8] == b"ftyp":
        return FileKind(BRANDS.get(head[8:12], "a HEIC picture or a film"))
    if head[4:8] == b"TFL3":
        return TFLITE
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return FileKind("a BMP picture")
    # Protocol buffers have no signature: field 1 is a version, field 2 of ONNX who wrote it. ONNX
    # counts versions from 3 on, SavedModel has had one.
    if head[:1] == b"\x08" and head[2:3] == b"\x12":
        return SAVED_MODEL_FILE if head[1] == 1 else ONNX
    return _kind_of_text(head)


def _kind_of_text(head: bytes) -> FileKind:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return WEB_PAGE
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return FileKind("an SVG drawing")
    if text.startswith(b"{"):
        found = (kind for key, kind in JSON_KINDS.items() if key in text)
        return next(found, FileKind("a text file"))
    if text.startswith(b"model_checkpoint_path:"):
        return CHECKPOINT
    readable = all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
    return FileKind("a text file") if readable else UNKNOWN


def wrong_kind(path: Path, expected: str, remedy: str = "") -> InputError:
    """The error for a file of another kind than the expected one.

    remedy: what to do where the kind that was found tells none itself.
    """
    found = kind_of(path)
    return mismatch(path, expected, found.words, found.remedy or remedy)


def is_hdf5(path: Path) -> bool:
    """Whether the HDF5 library takes a file for its own: its signature stands at the start, or
    behind a user block."""
    return _hdf5_start(path) >= 0


def _hdf5_start(path: Path) -> int:
    """Where HDF5's signature stands, -1 without it."""
    at, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while at + len(HDF5_START) <= size:
            file.seek(at)
            if file.read(len(HDF5_START)) == HDF5_START:
                return at
            at = 2 * at or SMALLEST_USER_BLOCK
    return -1


def is_numpy_archive(path: Path) -> bool:
    """Whether a file is an .npz, whatever its name ends with."""
    return is_zip(path) and kind_of(path) == NUMPY


def is_image_set(path: Path) -> bool:
    """Whether a path leads to a set of images, not to a single photo or to anything else.

    Raises InputError where nothing is there or it cannot be read.
    """
    checked_source(path)
    return path.is_dir() or is_hdf5(path) or is_numpy_archive(path)


def starts_with(path: Path, start: bytes) -> bool:
    """Whether a file's first bytes are these."""
    with path.open("rb") as file:
        return file.read(len(start)) == start


def checked_file(path: Path) -> Path:
    """`path`, if it is a regular file that can be read. Raises InputError otherwise."""
    try:
        if not path.exists():
            raise InputError(path, "no such file")
        if path.is_dir():
            raise _folder(path)
        if not path.is_file():
            raise InputError(path, "not a file")
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from error
    return path


def checked_source(path: Path) -> Path:
    """`path`, if it is a regular file that can be read, or a folder that can be listed.

    Raises InputError otherwise.
    """
    try:
        if not path.is_dir():
            return checked_file(path)
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})") from error
    return path


def _folder(path: Path) -> InputError:
    """The error for a folder in place of a file; Keras can save a model as one."""

    def holds(*names: str) -> bool:
        return all((path / name).exists() for name in names)

    if holds("saved_model.pb"):
        words = "a folder, TensorFlow's SavedModel"
        remedy = "It holds no layers any more: save the model that was exported, as .keras"
        return InputError(path, words, SAVED_MODEL if holds("keras_metadata.pb") else remedy)
    if holds("model.weights.h5"):
        return InputError(path, "a folder, an unpacked .keras file", "Give model.save('….keras')")
    if holds("model.weights.json"):
        kind = JSON_KINDS[b'"weight_map"']
        return InputError(path, "a folder, weights that were saved in several files", kind.remedy)
    if holds("model.json"):
        return InputError(path, "a folder, a TensorFlow.js model", SAVE_IN_KERAS)
    if holds("checkpoint"):
        return InputError(path, "a folder, TensorFlow's checkpoints", SAVE_IN_KERAS)
    return InputError(path, "a folder, not a file", "Give a file in it")
