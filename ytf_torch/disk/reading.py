"""What kind of file a path leads to, and whether it may be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ytf_torch.errors import InputError, mismatch

HDF5_START = b"\x89HDF\r\n\x1a\n"
ZIP_START = b"PK\x03\x04"
# The start of a file, by which its kind is recognised.
HEAD_BYTES = 512


@dataclass(frozen=True)
class FileKind:
    """What a file is, in words: "a Git LFS pointer"; and what helps where it should be another."""

    words: str
    remedy: str = ""


UNKNOWN = FileKind("something else")
SAFETENSORS = FileKind("a safetensors file")
EMPTY = FileKind("an empty file", "Download it again, or save it again")
LFS_POINTER = FileKind(
    "a Git LFS pointer, which only says where the file is", "Fetch it with git lfs pull"
)
WEB_PAGE = FileKind("a web page, saved in place of the file", "Download the file itself")
# By the bytes that a file starts with.
STARTS = {
    HDF5_START: FileKind("an HDF5 file"),
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
    b"\x80\x02": FileKind("a pickle, which could run code and is never opened"),
    b"\x80\x03": FileKind("a pickle, which could run code and is never opened"),
    b"\x80\x04": FileKind("a pickle, which could run code and is never opened"),
    b"\x80\x05": FileKind("a pickle, which could run code and is never opened"),
}
EXPORTED = "It is written for other programs: give the model that it was exported from"
ONNX = FileKind("an ONNX file", EXPORTED)
KERAS_ARCHIVE = FileKind("a Keras 3 model (.keras)")
# By the name of the first file in a zip archive.
ARCHIVES = {
    ".npy": FileKind("a NumPy archive (.npz)"),
    "metadata.json": KERAS_ARCHIVE,
    "config.json": KERAS_ARCHIVE,
    "model.weights.h5": KERAS_ARCHIVE,
    "data/weights/weight_0": FileKind("an exported PyTorch program (.pt2)", EXPORTED),
    "data.pkl": FileKind("a PyTorch file, whose pickles could run code and are never opened"),
}
# By the brand behind "ftyp", in which telephones' formats differ.
BRANDS = {b"avif": "an AVIF picture", b"avis": "an AVIF picture", b"qt  ": "a QuickTime film"}


def kind_of(path: Path) -> FileKind:
    """What a file is, by how it begins. Raises InputError where it cannot be read.

    >>> kind_of(Path("bd_net.h5")) == kind_of(Path("bd_net.safetensors"))
    False
    >>> kind_of(Path("bd_net.safetensors")).words
    'a safetensors file'
    """
    with checked_file(path).open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return EMPTY
    for start, kind in STARTS.items():
        if head.startswith(start):
            return kind
    if head.startswith(ZIP_START):
        first = head[30 : 30 + int.from_bytes(head[26:28], "little")].decode("latin-1")
        found = (kind for end, kind in ARCHIVES.items() if first.endswith(end))
        return next(found, FileKind("a zip archive", "Unpack it first"))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return FileKind("a WebP picture")
    if head[4:8] == b"ftyp":
        return FileKind(BRANDS.get(head[8:12], "a HEIC picture or a film"))
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return FileKind("a BMP picture")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32:
        return SAFETENSORS
    # Protocol buffers have no signature: field 1 is the version of ONNX, field 2 who wrote it.
    if head[:1] == b"\x08" and head[2:3] == b"\x12":
        return ONNX
    return _kind_of_text(head)


def _kind_of_text(head: bytes) -> FileKind:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return WEB_PAGE
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return FileKind("an SVG drawing")
    readable = all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
    return FileKind("a text file") if readable else UNKNOWN


def wrong_kind(path: Path, expected: str, remedy: str = "") -> InputError:
    """The error for a file of another kind than the expected one.

    remedy: what to do where the kind that was found tells none itself.
    """
    found = kind_of(path)
    return mismatch(path, expected, found.words, found.remedy or remedy)


def is_hdf5(path: Path) -> bool:
    """Whether the file starts with HDF5's signature."""
    return starts_with(path, HDF5_START)


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


def _folder(path: Path) -> InputError:
    """The error for a folder in place of a file; Keras can save a model as one."""
    if (path / "saved_model.pb").exists():
        if (path / "keras_metadata.pb").exists():
            remedy = "Load it in the Keras that saved it, and save it with model.save('….h5')"
        else:
            remedy = "It holds no layers any more: save the model that was exported, as .keras"
        return InputError(path, "a folder, TensorFlow's SavedModel", remedy)
    if (path / "model.weights.h5").exists():
        return InputError(path, "a folder, an unpacked .keras file", "Give model.save('….keras')")
    return InputError(path, "a folder, not a file", "Give a file in it")
