"""Every row of the table in docs/file-formats.md is verified: formats are read, written or refused
as it states."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch

from tests.conftest import ROOT
from tests.convert.keras.test_keras_config import nested
from tests.convert.keras.test_keras_versions import GOLDEN
from tests.made.keras_files import (
    SMALL,
    Config,
    edit_layer,
    random_images,
    random_weights,
    write_keras_file,
)
from tests.made.own_module import small_resnet
from ytf_torch.convert.keras.keras_goodnet import write_keras_goodnet
from ytf_torch.convert.keras.keras_writer import (
    write_keras_archive,
    write_keras_h5,
    write_keras_weights,
)
from ytf_torch.convert.model_file import read_model
from ytf_torch.convert.onnx_writer import run_onnx, write_onnx
from ytf_torch.convert.torch_export import run_pt2, write_pt2
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import Checkpoint, save_checkpoint
from ytf_torch.network.module import Network

Maker = Callable[[Path], Path]
KERAS = GOLDEN / "keras"


def table() -> dict[str, tuple[str, str]]:
    """First cell of each row → the cells on reading and writing."""
    text = (ROOT / "docs" / "file-formats.md").read_text(encoding="utf-8")
    rows = text.split("| file | read | written |\n|---|---|---|\n")[1].split("\n\n")[0]
    cells = ([cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines())
    return {file: (read, written) for file, read, written in cells}


def golden(name: str) -> Maker:
    return lambda folder: Path(shutil.copy(KERAS / name, folder))


def made(**options: Any) -> Maker:
    return lambda folder: write_keras_file(
        folder / "net.h5", SMALL, random_weights(SMALL), **options
    )


def in_lambda(config: Config) -> None:
    config["config"]["layers"][1]["class_name"] = "Lambda"


def of_theano(folder: Path) -> Path:
    path = made()(folder)
    with h5py.File(path, "r+") as file:
        file["model_weights"].attrs["backend"] = "theano"
    return path


def converted(folder: Path) -> Path:
    save_checkpoint(read_model(KERAS / "2.15.0.h5"), folder / "net.safetensors")
    return folder / "net.safetensors"


def saved_model(folder: Path) -> Path:
    (folder / "net").mkdir()
    (folder / "net" / "saved_model.pb").touch()
    return folder / "net"


def pth(folder: Path) -> Path:
    torch.save(small_resnet().state_dict(), folder / "net.pth")
    return folder / "net.pth"


def goodnet(folder: Path) -> Path:
    checkpoint = read_model(KERAS / "2.15.0.h5")
    write_keras_goodnet(folder / "goodnet.h5", checkpoint.model, checkpoint.model)
    return folder / "goodnet.h5"


READ: dict[str, list[Maker]] = {
    "Keras `.h5`, full model (`model.save`)": [made(keras_version="2.2.4"), golden("3.15.1.h5")],
    "Keras `.h5`, weights only (`save_weights`)": [made(full_model=False)],
    "Keras `.keras`": [golden("2.13.1.keras"), golden("3.15.1.keras")],
    "Keras `.weights.h5`": [golden("2.13.1.weights.h5"), golden("3.15.1.weights.h5")],
    "Keras model with nested models, to any depth": [
        golden("2.15.0-wrapped.h5"),
        golden("3.15.1-wrapped.keras"),
    ],
    "Keras `.h5` and `.keras` with pruning wrappers (tfmot)": [
        golden("pruned.h5"),
        golden("pruned.keras"),
    ],
    "ytf-torch `.safetensors`": [converted],
}
REFUSED: dict[str, tuple[Maker, str]] = {
    "Keras, several inputs or outputs": (
        made(edit=nested("B", "B_prime")),
        "expected one output layer, found .*output",
    ),
    "Keras, kernels of the Theano backend": (of_theano, "theano.*Keras 2.3 on TensorFlow"),
    "GoodNet of `ytf-export`, Keras": (goodnet, "B and B′"),
    "PyTorch `.pth`": (pth, r"torch\.load\(…, weights_only=True\).* ytf_torch\.wrap"),
    "Keras, dtype policy float16, bfloat16 or mixed": (
        made(edit=lambda config: edit_layer(config, "fc_1", dtype="mixed_float16")),
        "dtype policy.*mixed_float16",
    ),
    "Keras, Lambda or other code": (made(edit=in_lambda), "refused: Lambda"),
    "SavedModel folder": (saved_model, "SavedModel"),
}


def write_safetensors(path: Path, model: Network) -> None:
    provenance = read_model(KERAS / "2.15.0.h5").provenance
    save_checkpoint(Checkpoint(model, provenance), path)


GOODNET, NESTED = "GoodNet of `ytf-export`, Keras", "Keras model with nested models, to any depth"
# Tried in test_models_within_models.py.
WITH_ARCHITECTURE = {"Keras weights-only file of any network"}

WRITTEN: dict[str, tuple[str, Callable[[Path, Network], Any]]] = {
    "Keras `.h5`, full model (`model.save`)": ("net.h5", write_keras_h5),
    "Keras `.keras`": ("net.keras", write_keras_archive),
    "Keras `.weights.h5`": ("net.weights.h5", write_keras_weights),
    "ytf-torch `.safetensors`": ("net.safetensors", write_safetensors),
}


def test_the_table_has_the_rows_that_are_tried_here() -> None:
    not_read = {"`.onnx`", "`.pt2`"}
    assert set(table()) == {*READ, *REFUSED, *not_read, *WITH_ARCHITECTURE}
    refused = {file for file, (read, _) in table().items() if read.startswith("refused")}
    assert refused == set(REFUSED)
    assert {file for file, (read, _) in table().items() if read == "no"} == not_read
    written = {file for file, (_, written) in table().items() if written != "no"}
    assert written == {*WRITTEN, *not_read, GOODNET, NESTED}


@pytest.mark.parametrize(("row", "make"), [(row, make) for row in READ for make in READ[row]])
def test_what_is_read_gives_the_network(tmp_path: Path, row: str, make: Maker) -> None:
    found = read_model(make(tmp_path)).model.state_dict()
    expected = read_model(KERAS / ("pruned.h5" if "pruning" in row else "2.15.0.h5")).model
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_refused_is_refused_by_name(tmp_path: Path, row: str) -> None:
    make, line = REFUSED[row]
    with pytest.raises(InputError, match=line):
        read_model(make(tmp_path))


@pytest.mark.parametrize("row", WRITTEN)
def test_what_is_written_reads_back_bit_for_bit(tmp_path: Path, row: str) -> None:
    name, write = WRITTEN[row]
    model = read_model(KERAS / "2.15.0.h5").model
    write(tmp_path / name, model)
    found = read_model(tmp_path / name).model.state_dict()
    for key, tensor in model.state_dict().items():
        assert found[key].numpy().tobytes() == tensor.numpy().tobytes(), key


def test_onnx_and_pt2_are_written_and_answer_alike(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model, images = read_model(KERAS / "2.15.0.h5").model, random_images(SMALL, 4)
    write_onnx(tmp_path / "net.onnx", model)
    write_pt2(tmp_path / "net.pt2", model, model.input_shape, model.dtype)
    batch = images.astype("float32")
    with torch.inference_mode():
        expected = model(torch.from_numpy(batch))
    for found in (
        run_onnx(tmp_path / "net.onnx", [batch])[1],
        run_pt2(tmp_path / "net.pt2", [batch])[1],
    ):
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-4)
