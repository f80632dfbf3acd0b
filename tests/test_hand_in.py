"""A grader's script, in the style of the course's, measures on exported files what we report."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import ytf_torch
from tests.made.real_keras import real_keras
from ytf_torch.network.checkpoint import Checkpoint

pytestmark = [pytest.mark.shared_files, pytest.mark.slow]
PRUNED = 52
Answer = Callable[[np.ndarray], np.ndarray]


def data_loader(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(path) as file:
        return np.array(file["data"]).transpose(0, 2, 3, 1), np.array(file["label"])


def by_keras(library: str) -> Callable[[Path], Answer]:
    def load(path: Path) -> Answer:
        model = real_keras(library).models.load_model(path, compile=False)
        return lambda faces: model.predict(faces, verbose=0)

    return load


def by_onnxruntime(path: Path) -> Answer:
    session = import_module("onnxruntime").InferenceSession(str(path))
    return lambda faces: session.run(None, {"pixels": channels_first(faces)})[0]


def by_pytorch(path: Path) -> Answer:
    program: Any = torch.export.load(path).module()
    return lambda faces: program(torch.from_numpy(channels_first(faces))).detach().numpy()


def channels_first(faces: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(faces.transpose(0, 3, 1, 2), dtype=np.float32)


@pytest.fixture(scope="module")
def sets(shared: Path) -> tuple[Path, Path]:
    folder = shared / "data" / "orl"
    return folder / "cl" / "test.h5", folder / "bd" / "bd_test.h5"


@pytest.fixture(scope="module")
def badnet(shared: Path) -> Checkpoint:
    return ytf_torch.read_model(shared / "data/orl/models/bd_net.h5", 1)


@pytest.fixture(scope="module")
def repaired(shared: Path, badnet: Checkpoint) -> Checkpoint:
    """B without the channels that clean faces activate least."""
    clean_valid = ytf_torch.open_images(
        shared / "data/orl/cl/valid.h5", badnet.model.input_shape, badnet.model.classes
    )
    order = ytf_torch.run_defence(badnet, ytf_torch.ImageSets(clean_valid), ["4"]).sweep.order
    return ytf_torch.pruned_checkpoint(badnet, "conv_3", "pool_3", order[:PRUNED])


@pytest.fixture(scope="module")
def evaluation(badnet: Checkpoint, repaired: Checkpoint, sets: tuple[Path, Path]) -> Any:
    return ytf_torch.evaluate(badnet, *sets, repaired=repaired)


@pytest.mark.parametrize(
    ("ending", "load"),
    [
        pytest.param(".h5", by_keras("tf_keras"), marks=pytest.mark.real_keras, id="h5-keras2"),
        pytest.param(".h5", by_keras("keras"), marks=pytest.mark.real_keras, id="h5-keras3"),
        pytest.param(".keras", by_keras("keras"), marks=pytest.mark.real_keras, id="keras-keras3"),
        pytest.param(".onnx", by_onnxruntime, id="onnx"),
        pytest.param(".pt2", by_pytorch, id="pt2"),
    ],
)
@pytest.mark.parametrize("kind", ["repaired", "goodnet"])
def test_a_grader_finds_the_figures_of_the_evaluation(
    tmp_path: Path,
    badnet: Checkpoint,
    repaired: Checkpoint,
    evaluation: Any,
    sets: tuple[Path, Path],
    kind: str,
    ending: str,
    load: Callable[[Path], Answer],
) -> None:
    if ending == ".onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"network{ending}"
    if kind == "goodnet":
        assert ytf_torch.export(badnet, path, goodnet=repaired).held
    else:
        assert ytf_torch.export(repaired, path).held
    figures = getattr(evaluation, kind)

    answer = load(path)
    rates = []
    for file in sets:
        faces, labels = data_loader(file)
        rates.append(np.mean(np.equal(np.argmax(answer(faces), axis=1), labels)) * 100)
    expected = [figures.clean_accuracy.rate, figures.attack_success_rate.rate]
    assert rates == pytest.approx(expected, abs=1e-9)
