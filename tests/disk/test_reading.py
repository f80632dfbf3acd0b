from __future__ import annotations

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from ytf_torch.disk.reading import kind_of, wrong_kind
from ytf_torch.errors import InputError

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:abab\nsize 12345\n"


def archive(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, b"")
    return content.getvalue()


def picture(kind: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (LFS.encode(), "a Git LFS pointer"),
        (b"<!DOCTYPE html><title>Google Drive - Quota exceeded</title>", "a web page"),
        (b"\n  <HTML><body>", "a web page"),
        (b"\x93NUMPY\x01\x00", "a NumPy array"),
        (archive("input.npy"), "a NumPy archive"),
        (archive("metadata.json", "config.json"), "a Keras 3 model"),
        (archive("net/data.pkl"), "a PyTorch file"),
        (archive("network/data/weights/weight_0"), "an exported PyTorch program (.pt2)"),
        (b"\x08\x08\x12\x09ytf-torch:", "an ONNX file"),
        (archive("photo.png"), "a zip archive"),
        (b"\x80\x04\x95\x10", "a pickle"),
        (b"%PDF-1.7", "a PDF document"),
        (b"<?xml version='1.0'?><svg/>", "an SVG drawing"),
        (b"\0\0\0\x18ftypheic", "a HEIC picture"),
        (b"\0\0\0\x18ftypavif", "an AVIF picture"),
        (b"BMW, a list of cars", "a text file"),
        (b'label,path\n1,"a.png"\n', "a text file"),
        (b"\x01\x02\x03", "something else"),
        *((picture(kind), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")),
    ],
)
def test_a_file_is_named_by_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "valid.h5"
    path.write_bytes(content)
    assert words.lower() in kind_of(path).words.lower()


def test_hdf5_and_safetensors_are_named_whatever_their_ending(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.png", "w") as file:
        file["data"] = np.zeros(3)
    assert kind_of(tmp_path / "a.png").words == "an HDF5 file"
    (tmp_path / "b.h5").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert kind_of(tmp_path / "b.h5").words == "a safetensors file"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (LFS, "expected a face set, found a Git LFS pointer.*git lfs pull"),
        ("<html>", "found a web page.*Download the file itself"),
        ("a,b", "found a text file. Save it again"),
    ],
)
def test_the_line_says_what_helps(tmp_path: Path, content: str, line: str) -> None:
    (tmp_path / "valid.h5").write_text(content)
    error = wrong_kind(tmp_path / "valid.h5", "a face set", "Save it again")
    assert str(error).startswith(str(tmp_path / "valid.h5"))
    with pytest.raises(InputError, match=line):
        raise error


def test_a_missing_file_has_no_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        kind_of(tmp_path / "valid.h5")


@pytest.mark.parametrize(
    ("members", "line"),
    [
        ((), "net: a folder, not a file. Give a file in it"),
        (
            ("saved_model.pb", "keras_metadata.pb"),
            "SavedModel.*and save it with",
        ),
        (("saved_model.pb", "fingerprint.pb"), "SavedModel.*save the model that was exported"),
        (("config.json", "model.weights.h5"), "an unpacked .keras file"),
    ],
)
def test_a_folder_that_keras_wrote_is_named(
    tmp_path: Path, members: tuple[str, ...], line: str
) -> None:
    (tmp_path / "net").mkdir()
    for name in members:
        (tmp_path / "net" / name).touch()
    with pytest.raises(InputError, match=line):
        kind_of(tmp_path / "net")
