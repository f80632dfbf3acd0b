from __future__ import annotations

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from ytf_torch.disk.hdf5 import dataset, open_hdf5
from ytf_torch.disk.reading import is_hdf5, kind_of, wrong_kind
from ytf_torch.errors import InputError

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:abab\nsize 12345\n"


def archive(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            # At a fixed time: the bytes are part of a test's name, which all processes agree on.
            file.writestr(zipfile.ZipInfo(name), b"")
    return content.getvalue()


def image(kind: str) -> bytes:
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
        (archive("net/config.json", "net/model.weights.h5"), "packed again as a folder"),
        (archive("serialized_exported_program.json", "version"), "an exported PyTorch program"),
        (archive("net/data/0", "net/data.pkl", "net/constants.pkl"), "a TorchScript program"),
        (archive("net/saved_model.pb"), "TensorFlow's SavedModel"),
        (archive("model.json", "group1-shard1of1.bin"), "a TensorFlow.js model"),
        (b"\x08\x01\x12\x8a\x01\n\x05keras", "a TensorFlow SavedModel"),
        (b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
        (b'{"format": "layers-model", "modelTopology": {}}', "a TensorFlow.js model"),
        (b'{\n "metadata": {}, "weight_map": {}}', "saved in several files"),
        (b'{"class_name": "Functional", "config": {}}', "configuration without weights"),
        (b'model_checkpoint_path: "weights"', "TensorFlow's checkpoints"),
        (b"\x80\x04\x95\x10", "a pickle"),
        (b"%PDF-1.7", "a PDF document"),
        (b"<?xml version='1.0'?><svg/>", "an SVG drawing"),
        (b"\0\0\0\x18ftypheic", "a HEIC image"),
        (b"\0\0\0\x18ftypavif", "an AVIF image"),
        (b"BMW, a list of cars", "a text file"),
        (b'label,path\n1,"a.png"\n', "a text file"),
        (b"\x01\x02\x03", "something else"),
        *((image(kind), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")),
    ],
)
def test_a_files_kind_is_recognised_by_its_content(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "valid.h5"
    path.write_bytes(content)
    assert words.lower() in kind_of(path).words.lower()


@pytest.mark.parametrize(
    "content", [archive("net/data.pkl"), *(b"\x80" + bytes([number]) for number in (2, 3, 4, 5))]
)
def test_weights_of_pytorch_are_not_unpickled_and_the_line_says_where_they_go(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "bd_net.pth"
    path.write_bytes(content)
    line = wrong_kind(path, "a Keras file").line()
    for part in ("never opened", "torch.load(…, weights_only=True)", "ytf_torch.wrap"):
        assert part in line


def test_hdf5_and_safetensors_are_recognised_whatever_their_suffix(tmp_path: Path) -> None:
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
def test_the_error_says_what_to_do(tmp_path: Path, content: str, line: str) -> None:
    (tmp_path / "valid.h5").write_text(content)
    error = wrong_kind(tmp_path / "valid.h5", "a face set", "Save it again")
    assert str(error).startswith(str(tmp_path / "valid.h5"))
    with pytest.raises(InputError, match=line):
        raise error


def test_the_kind_of_a_missing_file_is_an_error(tmp_path: Path) -> None:
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
def test_a_folder_that_keras_wrote_is_recognised(
    tmp_path: Path, members: tuple[str, ...], line: str
) -> None:
    (tmp_path / "net").mkdir()
    for name in members:
        (tmp_path / "net" / name).touch()
    with pytest.raises(InputError, match=line):
        kind_of(tmp_path / "net")


@pytest.mark.parametrize("size", [512, 1024, 65536])
@pytest.mark.parametrize(
    "block", [b"", b"MATLAB 7.3 MAT-file, Platform: GLNXA64", b"#!/usr/bin/env h5"]
)
def test_hdf5_is_found_behind_a_user_block(tmp_path: Path, size: int, block: bytes) -> None:
    path = tmp_path / "faces.mat"
    with h5py.File(path, "w", userblock_size=size) as file:
        file["data"] = np.arange(3)
    with path.open("r+b") as stream:
        stream.write(block)
    assert is_hdf5(path)
    assert kind_of(path).words == "an HDF5 file"
    with open_hdf5(path) as root:
        assert dataset(root, "data")[:].tolist() == [0, 1, 2]


def test_a_signature_at_an_offset_where_hdf5_does_not_look_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(600) + b"\x89HDF\r\n\x1a\n" + bytes(600))
    assert not is_hdf5(tmp_path / "a")


def hdf5(userblock: int = 0) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w", userblock_size=userblock) as file:
        file["data"] = np.zeros(3)
    return content.getvalue()


def over(content: bytes, start: bytes) -> bytes:
    return start + content[len(start) :]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(hdf5() + archive("config.json"), id="a zip behind HDF5"),
        pytest.param(over(hdf5(512), archive("config.json")), id="a zip before HDF5"),
        pytest.param(over(hdf5(512), b"\x02\0\0\0\0\0\0\0{}"), id="safetensors before HDF5"),
        pytest.param(b"\x02\0\0\0\0\0\0\0{}" + archive("config.json"), id="safetensors, a zip"),
    ],
)
def test_a_polyglot_file_is_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("a.h5", "a.keras", "a.safetensors"):
        (tmp_path / name).write_bytes(content)
        assert "several formats at once" in kind_of(tmp_path / name).words


@pytest.mark.parametrize(("name", "words"), [("a.keras", "a Keras 3"), ("a.h5", "several formats")])
def test_archived_weights_at_an_offset_where_hdf5_looks_are_no_polyglot(
    tmp_path: Path, name: str, words: str
) -> None:
    member = "model.weights.h5"
    path = tmp_path / name
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", bytes(512 - 2 * 30 - len("config.json") - len(member)))
        file.writestr(member, hdf5())
    assert path.read_bytes()[512:].startswith(b"\x89HDF")
    assert words in kind_of(path).words
