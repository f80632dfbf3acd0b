"""An output replaces an earlier output of its kind, and no other file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.commands.test_evaluate import evaluate
from tests.commands.test_export import export
from ytf_torch.commands.replaced import check_replaceable
from ytf_torch.errors import InputError

REMEDY = "Choose another -o or --json"


def image_set(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = np.zeros((4, 3, 9, 9), np.uint8), np.zeros(4)


def arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, x=np.zeros((4, 9, 9, 3), np.uint8))


def notes(path: Path) -> None:
    path.write_text("what I must not forget")


@pytest.mark.parametrize(
    ("name", "write", "found"),
    [
        ("b.h5", image_set, "an image set"),
        ("b.hdf5", image_set, "an image set"),
        ("b.h5", notes, "a text file"),
        ("b.safetensors", notes, "a text file"),
        ("b.safetensors", image_set, "an HDF5 file"),
        ("b.keras", arrays, "NumPy"),
        ("b.onnx", image_set, "an HDF5 file"),
        ("b.pt2", arrays, "NumPy"),
        ("b.json", notes, "a text file"),
        ("report", image_set, "an HDF5 file"),
        ("b.txt", notes, "a text file"),
    ],
)
def test_another_file_is_not_replaced(tmp_path: Path, name: str, write, found: str) -> None:
    path = tmp_path / name
    write(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"an earlier output to replace, found .*{found}") as error:
        check_replaceable(path)
    assert str(error.value).endswith(REMEDY)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["b.h5", "b.safetensors", "b.json", "none"])
def test_nothing_and_a_file_without_content_may_be_replaced(tmp_path: Path, name: str) -> None:
    check_replaceable(tmp_path / name)
    (tmp_path / name).touch()
    check_replaceable(tmp_path / name)


@pytest.mark.parametrize(
    "ending", [".h5", ".weights.h5", ".keras", ".safetensors", ".pt2", ".onnx"]
)
def test_an_export_replaces_an_earlier_one(ending: str, tmp_path: Path, keras_file: Path) -> None:
    if ending == ".onnx":
        pytest.importorskip("onnxruntime")
    output, report = tmp_path / f"new{ending}", tmp_path / "report.json"
    for _ in range(2):
        result = export(keras_file, "-o", output, "--json", report)
        assert result.exit_code == 0, result.stderr
        assert output.stat().st_size


def test_a_command_says_so_before_it_reads_anything(tmp_path: Path, keras_file: Path) -> None:
    photo, place = tmp_path / "face.png", tmp_path / "notes.txt"
    notes(place)
    photo.write_bytes(b"not read")
    result = evaluate(keras_file, photo, "--json", place)
    assert result.exit_code == 2
    expected = "expected no file, or an earlier output to replace, found a text file"
    assert result.stderr == f"error: {place}: {expected}. {REMEDY}\n"
