"""Any plain Keras classifier is read, verified and written back. Files of 62 repositories."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ytf_torch.convert import read_keras_model
from ytf_torch.convert.export import Subject, export
from ytf_torch.convert.keras.keras_oracle import compare_with_keras
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import load_checkpoint, save_checkpoint

SCALE = 1 / 255
# Weights alone: what they belong to is told by their shapes.
ALONE = ("csaw-hackml_a_bd_weights.h5", "kronbii_emotion_model.h5")
NETS = (
    *("20candy_cifar10_cnn.keras", "963n_keras_model.h5", "albaghdadi_model.keras"),
    *("aman-21k_model.keras", "aryad27_cnncat2.h5", "ben2002chou_lenet.h5"),
    *("bluevery8_traffic_classifier.h5", "csaw-hackml_c_bd_net.h5", "cse5393_lenet.h5"),
    *("evanchien_fashion_mnist.h5", "fredpwol_mnist.h5", "gandrea51_berlin.h5"),
    *("kilj4eden_models_mnist.h5", "komalilaveti_at.h5", "lyxxn0414_resnet_v1.h5"),
    *("malhar-39_fashion_mnist_cnn.keras", "nizarsh98_sign_language_model.keras"),
    "parthsharma975_malaria_model.keras",
    "raymond-owen1-137_fer2013_mini_xception.102-0.66.hdf5",
    *("rye-catcher_lenet.h5", "simonnchong_cifar10.h5", "swarnimamitra_traffic_sign_model.h5"),
    "zafermesut_gtsrb_model.h5",
)
CLASSES = {"963n_keras_model.h5": 2, "lyxxn0414_resnet_v1.h5": 10, "aryad27_cnncat2.h5": 2}


def pictures(shape: tuple[int, int, int]) -> np.ndarray:
    """Half random pixels, half large blocks of colour with noise, which resemble photos. 32, or 8
    large ones, as outputs of all layers are compared."""
    rng = np.random.default_rng(3)
    channels, height, width = shape
    half = 16 if height * width < 100**2 else 4
    noise = rng.integers(0, 256, (half, *shape))
    blocks = rng.integers(0, 256, (half, channels, 4, 4)).repeat(-(-height // 4), 2)
    blocks = blocks.repeat(-(-width // 4), 3)[:, :, :height, :width]
    natural = (blocks + rng.integers(-20, 21, blocks.shape)).clip(0, 255)
    return np.concatenate([noise, natural]).astype(np.uint8)


@pytest.mark.shared_files
@pytest.mark.parametrize("name", NETS)
def test_a_published_network_is_read_and_kept(shared: Path, tmp_path: Path, name: str) -> None:
    checkpoint = read_keras_model(shared / "nets" / name, SCALE)
    network = checkpoint.model
    images = torch.from_numpy(pictures(network.input_shape))
    with torch.inference_mode():
        logits = network(images)
    assert logits.shape == (len(images), network.classes)
    assert bool(logits.isfinite().all())
    assert CLASSES.get(name, network.classes) == network.classes
    save_checkpoint(checkpoint, tmp_path / "net.safetensors")
    with torch.inference_mode():
        again = load_checkpoint(tmp_path / "net.safetensors").model(images)
    assert torch.equal(again, logits)


@pytest.mark.shared_files
@pytest.mark.parametrize("name", ALONE)
def test_weights_alone_ask_for_their_architecture(shared: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"weights alone.*Give .*to_json\(\)"):
        read_keras_model(shared / "nets" / name, SCALE)


@pytest.mark.real_keras
@pytest.mark.usefixtures("keras_once")
@pytest.mark.shared_files
@pytest.mark.parametrize("name", NETS)
def test_a_published_network_answers_as_in_keras(shared: Path, name: str) -> None:
    source = shared / "nets" / name
    network = read_keras_model(source, SCALE).model
    parity = compare_with_keras(network, source, pictures(network.input_shape))
    assert parity.held, parity.failures
    assert len(parity.layers) > 1


ENDINGS = (".h5", ".weights.h5", ".keras")
# One format for each network, in turn: all 69 take minutes, and run with YTF_EVERY_FORMAT=1.
EVERY_FORMAT = os.environ.get("YTF_EVERY_FORMAT") == "1"
WRITTEN = [
    (name, ending)
    for number, name in enumerate(NETS)
    for place, ending in enumerate(ENDINGS)
    if EVERY_FORMAT or place == number % len(ENDINGS)
]


# The same for what both versions of real Keras load.
LOADED_BY_BOTH = [
    (name, ending)
    for name, chosen in (
        ("963n_keras_model.h5", ".keras"),
        ("aryad27_cnncat2.h5", ".h5"),
        (NETS[18], ".h5"),
    )
    for ending in (".h5", ".keras")
    if EVERY_FORMAT or ending == chosen
]


@pytest.mark.shared_files
@pytest.mark.parametrize(("name", "ending"), WRITTEN)
def test_a_published_network_is_written_back(
    shared: Path, tmp_path: Path, name: str, ending: str
) -> None:
    checkpoint = read_keras_model(shared / "nets" / name, SCALE)
    found = export(Subject(checkpoint.model, checkpoint), tmp_path / f"net{ending}")
    assert found.weights_equal
    assert found.held, found.failures


def convolution(name: str, filters: int) -> dict[str, Any]:
    config = {"name": name, "filters": filters, "kernel_size": [3, 3], "activation": "relu"}
    return {"class_name": "Conv2D", "config": config}


def pool(name: str) -> dict[str, Any]:
    return {"class_name": "MaxPooling2D", "config": {"name": name, "pool_size": [2, 2]}}


def dense(name: str, units: int, activation: str) -> dict[str, Any]:
    return {
        "class_name": "Dense",
        "config": {"name": name, "units": units, "activation": activation},
    }


FLATTEN = {"class_name": "Flatten", "config": {"name": "flatten_1"}}
LAYERS = {
    "csaw-hackml_a_bd_weights.h5": (
        [32, 32, 3],
        [convolution("conv_1", 32), convolution("conv_2", 32), pool("pool_1")],
        [convolution("conv_3", 64), convolution("conv_4", 64), pool("pool_2")],
        [convolution("conv_5", 128), convolution("conv_6", 128), FLATTEN],
        [dense("fc_1", 512, "relu"), dense("output", 43, "softmax")],
    ),
    "kronbii_emotion_model.h5": (
        [48, 48, 1],
        [convolution("a", 32), convolution("b", 64), pool("p")],
        [convolution("c", 128), pool("q"), convolution("d", 128), pool("r")],
        [convolution("e", 128), pool("s"), FLATTEN],
        [dense("f", 1024, "relu"), dense("g", 4, "softmax")],
    ),
}


def told(name: str, folder: Path) -> Path:
    """The text of model.to_json(); for the second network with other layer names than the file."""
    shape, *parts = LAYERS[name]
    layers = json.loads(json.dumps([layer for part in parts for layer in part]))
    layers[0]["config"]["batch_input_shape"] = [None, *shape]
    model = {"class_name": "Sequential", "config": {"name": "net", "layers": layers}}
    path = folder / "model.json"
    path.write_text(json.dumps(model | {"keras_version": "2.4.0"}), encoding="utf-8")
    return path


@pytest.mark.shared_files
@pytest.mark.parametrize("name", ALONE)
def test_weights_alone_are_read_with_their_architecture(
    shared: Path, tmp_path: Path, name: str
) -> None:
    source, architecture = shared / "nets" / name, told(name, tmp_path)
    network = read_keras_model(source, SCALE, architecture).model
    assert len(network.graph.weighted) in (7, 8)
    checkpoint = read_keras_model(source, SCALE, architecture)
    whole = export(Subject(checkpoint.model, checkpoint), tmp_path / "whole.h5")
    again = read_keras_model(source, SCALE, whole.path).model
    for (_, ours), (_, theirs) in zip(
        network.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert ours.equal(theirs)


@pytest.mark.real_keras
@pytest.mark.usefixtures("keras_once")
@pytest.mark.shared_files
@pytest.mark.parametrize("name", ALONE)
def test_real_keras_loads_weights_alone_into_the_same_architecture(
    shared: Path, tmp_path: Path, name: str
) -> None:
    source, architecture = shared / "nets" / name, told(name, tmp_path)
    network = read_keras_model(source, SCALE, architecture).model
    images = pictures(network.input_shape)
    parity = compare_with_keras(network, source, images, architecture)
    assert parity.held, parity.failures


@pytest.mark.real_keras
@pytest.mark.usefixtures("keras_once")
@pytest.mark.shared_files
@pytest.mark.parametrize(("name", "ending"), LOADED_BY_BOTH)
def test_both_keras_answer_alike_from_what_is_written(
    shared: Path, tmp_path: Path, name: str, ending: str
) -> None:
    """MobileNetV2 in nested models, one unit with a sigmoid, separable convolutions."""
    checkpoint = read_keras_model(shared / "nets" / name, SCALE)
    subject = Subject(checkpoint.model, checkpoint)
    found = export(subject, tmp_path / f"net{ending}", against_keras=True)
    assert len(found.checks) == 3
    assert found.held, found.failures
