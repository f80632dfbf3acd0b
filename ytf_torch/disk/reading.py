"""Recognises what kind of file a path leads to, and checks that it can be read."""

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
# HDF5's signature is at offset 0, or behind a user block of 512, 1024, 2048, … bytes. MATLAB writes
# a user block.
SMALLEST_USER_BLOCK = 512
# How much of a file's start is read to recognise its kind.
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
# Kinds by a file's first bytes (magic numbers).
STARTS = {
    b"version https://git-lfs": LFS_POINTER,
    b"\x93NUMPY": FileKind("a NumPy array (.npy)"),
    b"\x89PNG": FileKind("a PNG image"),
    b"\xff\xd8\xff": FileKind("a JPEG image"),
    b"GIF8": FileKind("a GIF image"),
    b"II*\0": FileKind("a TIFF image"),
    b"MM\0*": FileKind("a TIFF image"),
    b"\0\0\0\x0cJXL": FileKind("a JPEG XL image"),
    b"\xff\x0a": FileKind("a JPEG XL image"),
    b"\0\0\0\x0cjP": FileKind("a JPEG 2000 image"),
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
    "a file of several formats at once, of which different programs open different ones",
    "Save it again with the program that made it",
)
# JSON files that belong to models, by a key that only they contain, in lower case.
JSON_KINDS = {
    b'"weight_map"': FileKind(
        "the index of weights that were saved in several files",
        "Load them in Keras, and save one file with model.save('….keras')",
    ),
    b'"weightsmanifest"': FileKind("a TensorFlow.js model", SAVE_IN_KERAS),
    b'"modeltopology"': FileKind("a TensorFlow.js model", SAVE_IN_KERAS),
    b'"class_name"': FileKind("a Keras configuration without weights", SAVE_IN_KERAS),
}
CHECKPOINT = FileKind("the index of TensorFlow's checkpoints", SAVE_IN_KERAS)
# ISO media files (MP4 family), by the brand that follows "ftyp".
BRANDS = {b"avif": "an AVIF image", b"avis": "an AVIF image", b"qt  ": "a QuickTime film"}


def kind_of(path: Path) -> FileKind:
    """The kind of a file, by its content. Raises InputError if it cannot be read.

    >>> kind_of(Path("bd_net.h5")) == kind_of(Path("bd_net.safetensors"))
    False
    >>> kind_of(Path("bd_net.safetensors")).words
    'a safetensors file'
    """
    with checked_file(path).open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return EMPTY
    hdf5, zipped, safetensors = is_hdf5(path), is_zip(path), _is_safetensors(head)
    # A polyglot file could pass as one model here and be loaded as another elsewhere.
    if hdf5 + zipped + safetensors > 1 and not _is_archived_hdf5(path, head):
        return SEVERAL
    if zipped:
        return zip_kind(path)
    return HDF5 if hdf5 else SAFETENSORS if safetensors else _kind_by_start(head)


def _is_safetensors(head: bytes) -> bool:
    # The length of the JSON header as a 64-bit integer, then the header.
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32


def _is_archived_hdf5(path: Path, head: bytes) -> bool:
    """Whether the HDF5 signature belongs to the weights inside a .keras archive.

    The stored member may start by chance at an offset where HDF5 looks for its signature. Keras
    opens a zip of that ending as an archive, so there is only one way to read it.
    """
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
        return FileKind("a WebP image")
    if head[4:8] == b"ftyp":
        return FileKind(BRANDS.get(head[8:12], "a HEIC image or a film"))
    if head[4:8] == b"TFL3":
        return TFLITE
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return FileKind("a BMP image")
    # Protocol buffers have no signature. Both formats start with field 1, a version, followed by
    # field 2. ONNX versions start at 3; SavedModel's version has always been 1.
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
        kinds = (kind for key, kind in JSON_KINDS.items() if key in text)
        return next(kinds, FileKind("a text file"))
    if text.startswith(b"model_checkpoint_path:"):
        return CHECKPOINT
    readable = all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
    return FileKind("a text file") if readable else UNKNOWN


def wrong_kind(path: Path, expected: str, remedy: str = "") -> InputError:
    """The error for a file of another kind than the expected one.

    remedy: what to do if the kind that was found has no remedy of its own.
    """
    kind = kind_of(path)
    return mismatch(path, expected, kind.words, kind.remedy or remedy)


def is_hdf5(path: Path) -> bool:
    """Whether the HDF5 library would open a file: its signature is at the start, or behind a user
    block."""
    return _hdf5_start(path) >= 0


def _hdf5_start(path: Path) -> int:
    """The offset of HDF5's signature, -1 if there is none."""
    at, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while at + len(HDF5_START) <= size:
            file.seek(at)
            if file.read(len(HDF5_START)) == HDF5_START:
                return at
            at = 2 * at or SMALLEST_USER_BLOCK
    return -1


def is_numpy_archive(path: Path) -> bool:
    """Whether a file is an .npz, whatever its suffix."""
    return is_zip(path) and kind_of(path) == NUMPY


def is_image_set(path: Path) -> bool:
    """Whether a path leads to a set of images: a folder, an HDF5 file or an .npz.

    Raises InputError if nothing is there or it cannot be read.
    """
    checked_source(path)
    return path.is_dir() or is_hdf5(path) or is_numpy_archive(path)


def starts_with(path: Path, start: bytes) -> bool:
    """Whether a file's first bytes are `start`."""
    with path.open("rb") as file:
        return file.read(len(start)) == start


def checked_file(path: Path) -> Path:
    """Return `path` if it is a regular, readable file. Raises InputError otherwise."""
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
    """Return `path` if it is a regular, readable file, or a folder that can be listed.

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
    """The error for a folder where a file is expected. Keras can save a model as a folder."""

    def holds(*names: str) -> bool:
        return all((path / name).exists() for name in names)

    if holds("saved_model.pb"):
        words = "a folder, TensorFlow's SavedModel"
        # model.export() keeps the computation alone; a SavedModel that Keras saved has metadata.
        remedy = "It no longer contains layers: save the model that was exported, as .keras"
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
