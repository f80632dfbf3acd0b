from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, WIDE, random_images
from ytf_torch.convert.model_file import read_model
from ytf_torch.convert.onnx_writer import run_onnx, write_onnx
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.deepid import DeepIDSizes, deepid
from ytf_torch.network.masking import bake_mask

onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")


def outputs(module: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return module(torch.from_numpy(pixels)).numpy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [SMALL, WIDE])
@pytest.mark.parametrize("pixel_scale", [1.0, 1 / 255])
def test_a_network_answers_alike_in_batches_of_any_size(
    tmp_path: Path, sizes: DeepIDSizes, pixel_scale: float, dtype: type
) -> None:
    torch.manual_seed(1)
    network = deepid(sizes, pixel_scale).to(getattr(torch, dtype.__name__)).eval()
    write_onnx(tmp_path / "net.onnx", network)
    pixels: np.ndarray = random_images(sizes, 40).astype(dtype)
    by, found = run_onnx(tmp_path / "net.onnx", [pixels[:1], pixels[1:4], pixels[4:]])
    expected = outputs(network, pixels)
    assert by.startswith("onnxruntime")
    assert found.dtype == dtype
    largest = float(np.abs(expected).max())
    assert float(np.abs(found - expected).max()) <= 10 * np.finfo(dtype).eps * largest


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_goodnet_is_one_graph_whose_argmax_is_its_answer(
    tmp_path: Path, checkpoint: Checkpoint, dtype: torch.dtype
) -> None:
    badnet = checkpoint.model.to(dtype)
    repaired = bake_mask(badnet, "conv_3", [0, 2, 5])
    write_onnx(tmp_path / "goodnet.onnx", badnet, repaired)
    pixels = random_images(SMALL, 64).astype(str(dtype).removeprefix("torch."))
    _, found = run_onnx(tmp_path / "goodnet.onnx", [pixels])
    expected = outputs(GoodNet(badnet, repaired), pixels)
    answers = found.argmax(1)
    assert found.shape == (64, SMALL.classes + 1)
    assert (answers == expected.argmax(1)).all()
    assert (np.isinf(found) == np.isinf(expected)).all()
    assert 0 < (answers == SMALL.classes).sum() < 64


def test_the_graph_says_what_goes_in_and_out(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_onnx(tmp_path / "net.onnx", checkpoint.model)
    graph = onnx.load(tmp_path / "net.onnx").graph
    (entry,), (end,) = graph.input, graph.output

    def shape(value: object) -> list[object]:
        dimensions = value.type.tensor_type.shape.dim  # type: ignore[attr-defined]
        return [part.dim_param or part.dim_value for part in dimensions]

    assert (entry.name, shape(entry)) == ("pixels", ["batch", 3, 55, 47])
    assert (end.name, shape(end)) == ("logits", ["batch", 7])
    assert {"conv_1", "pool_3", "fc_2", "activation_1"} <= {node.name for node in graph.node}


def test_equal_networks_give_equal_bytes(tmp_path: Path, checkpoint: Checkpoint) -> None:
    for name in ("one.onnx", "two.onnx"):
        write_onnx(tmp_path / name, checkpoint.model)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_it_is_not_read_as_a_network(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_onnx(tmp_path / "net.onnx", checkpoint.model)
    with pytest.raises(
        InputError, match=r"an ONNX file\).*give the model that it was exported from"
    ):
        read_model(tmp_path / "net.onnx")
