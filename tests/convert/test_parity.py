from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from tests.made.keras_files import SMALL, WIDE, random_images, random_weights, write_keras_file
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.convert.keras.keras_oracle import compare_with_keras
from ytf_torch.convert.parity import Reference, compare_logits, read_reference
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.deepid import DeepIDSizes
from ytf_torch.network.module import Network

GOLDEN = ROOT / "tests" / "golden"
CASES = [("small", SMALL, 1.0), ("wide", WIDE, 1 / 255)]
ZOO = {
    "bd_weights": "zoo/bd_weights.h5",
    "lab3_pruned_45_keras240": "zoo/lab3_pruned_45_keras240.h5",
    "lab3_pruned_52_keras270": "zoo/lab3_pruned_52_keras270.h5",
    "sunglasses_bd_weights": "zoo/sunglasses_bd_weights.h5",
    "orl_bd_net": "data/orl/models/bd_net.h5",
}


def golden(name: str, sizes: DeepIDSizes, pixel_scale: float) -> Reference:
    """Logits of real Keras for seeded weights and images; see tests/golden/make.py."""
    logits = np.load(GOLDEN / f"{name}.npz")["logits"]
    return Reference(random_images(sizes, len(logits)), logits, pixel_scale)


def seeded(path: Path, sizes: DeepIDSizes, pixel_scale: float) -> Checkpoint:
    write_keras_file(path, sizes, random_weights(sizes))
    return keras_checkpoint(read_keras_file(path), pixel_scale)


@pytest.mark.parametrize(("name", "sizes", "pixel_scale"), CASES)
def test_converted_weights_answer_as_keras_did(
    tmp_path: Path, name: str, sizes: DeepIDSizes, pixel_scale: float
) -> None:
    reference = golden(name, sizes, pixel_scale)
    parity = compare_logits(seeded(tmp_path / "n.h5", sizes, pixel_scale).model, reference)
    assert parity.failures == ()
    assert parity.agreeing == parity.images == 8
    assert parity.largest_difference <= 2e-6 * parity.largest_logit
    assert parity.error <= max(2 * parity.keras_error, parity.rounding)


def flip_kernel(model: Network) -> None:
    model.conv_2.weight.copy_(model.conv_2.weight.flip(2).clone())


def chw_order(model: Network) -> None:
    by_position = model.fc_1.weight.reshape(9, -1, 5, 4).permute(0, 2, 3, 1)
    model.fc_1.weight.copy_(by_position.reshape(9, -1).clone())


def nudge(model: Network) -> None:
    model.output.bias[0] += 0.01


def wrong_scale(model: Network) -> None:
    model.pixel_scale = 1 / 255


@pytest.mark.parametrize("mutate", [flip_kernel, chw_order, nudge, wrong_scale])
def test_a_mutated_model_fails(tmp_path: Path, mutate) -> None:
    model = seeded(tmp_path / "net.h5", SMALL, 1.0).model
    with torch.no_grad():
        mutate(model)
    assert not compare_logits(model, golden("small", SMALL, 1.0)).held


@pytest.mark.parametrize("change", ["nan", "classes", "images"])
def test_references_that_do_not_fit(checkpoint: Checkpoint, change: str) -> None:
    reference = golden("small", SMALL, 1.0)
    logits = reference.logits.copy()
    if change == "nan":
        logits[0, 0] = np.nan
        assert not compare_logits(checkpoint.model, Reference(reference.inputs, logits, 1.0)).held
        return
    wrong = logits[:, :-1] if change == "classes" else logits[:-1]
    with pytest.raises(InputError, match="logits: expected"):
        compare_logits(checkpoint.model, Reference(reference.inputs, wrong, 1.0))


def test_a_reference_file_is_read_without_unpickling(tmp_path: Path) -> None:
    good: dict[str, Any] = {
        "input": np.zeros((1, 3, 55, 47)),
        "logits": np.ones((1, 7)),
        "pixel_scale": 1.0,
    }
    path = tmp_path / "reference.npz"
    np.savez(path, **good)
    assert read_reference(path).logits.tolist() == [[1.0] * 7]
    changes: list[dict[str, Any]] = [
        {"logits": np.array([{}], dtype=object)},
        {"logits": np.full((1, 7), np.nan)},
        {"pixel_scale": np.zeros(2)},
        {"input": np.full((1, 3, 55, 47), 300)},
        {"input": np.zeros((0, 3, 55, 47))},
    ]
    for bad in changes:
        np.savez(path, **(good | bad))
        with pytest.raises(InputError, match=r"reference\.npz"):
            read_reference(path)
    np.savez(path, logits=good["logits"])
    with pytest.raises(InputError, match="expected `input`, `logits` and `pixel_scale`, found"):
        read_reference(path)
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(InputError, match="truncated"):
        read_reference(path)


@pytest.mark.shared_files
@pytest.mark.parametrize("name", ZOO)
def test_published_models_answer_as_keras_did(shared: Path, name: str) -> None:
    reference = read_reference(shared / "reference" / "keras_logits" / f"{name}.npz")
    checkpoint = keras_checkpoint(read_keras_file(shared / ZOO[name]), reference.pixel_scale or 1.0)
    assert compare_logits(checkpoint.model, reference).failures == ()


@pytest.mark.real_keras
@pytest.mark.usefixtures("keras_once")
@pytest.mark.parametrize(("name", "sizes", "pixel_scale"), CASES)
def test_every_layer_answers_as_live_keras_does(
    tmp_path: Path, name: str, sizes: DeepIDSizes, pixel_scale: float
) -> None:
    checkpoint = seeded(tmp_path / "net.h5", sizes, pixel_scale)
    images = random_images(sizes, 8)
    parity = compare_with_keras(checkpoint.model, tmp_path / "net.h5", images)
    assert parity.failures == ()
    assert [layer.layer for layer in parity.layers][-2:] == ["fc_2", "answer"]


@pytest.mark.real_keras
@pytest.mark.usefixtures("keras_once")
@pytest.mark.parametrize("layer", ["conv_2", "conv_4", "fc_2"])
def test_live_keras_names_the_first_layer_that_diverges(tmp_path: Path, layer: str) -> None:
    model = seeded(tmp_path / "net.h5", SMALL, 1.0).model
    with torch.no_grad():
        weight = model.get_parameter(f"{layer}.weight")
        weight.copy_(weight.flip(1).clone())
    parity = compare_with_keras(model, tmp_path / "net.h5", random_images(SMALL, 8))
    assert parity.first_divergence == layer
    assert not parity.held


@pytest.mark.real_keras
@pytest.mark.usefixtures("keras_once")
@pytest.mark.shared_files
@pytest.mark.parametrize("name", ["sunglasses_bd_weights", "orl_bd_net"])
def test_published_models_answer_as_live_keras_does(shared: Path, name: str) -> None:
    reference = read_reference(shared / "reference" / "keras_logits" / f"{name}.npz")
    path = shared / ZOO[name]
    model = keras_checkpoint(read_keras_file(path), reference.pixel_scale or 1.0).model
    assert compare_with_keras(model, path, reference.inputs).failures == ()
