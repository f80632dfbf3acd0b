from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, random_images
from tests.made.real_keras import real_keras
from ytf_torch.convert.keras.keras_goodnet import (
    goodnet_model,
    goodnet_reads_back,
    in_keras_order,
    read_keras_goodnet,
    run_keras_goodnet,
    write_keras_goodnet,
)
from ytf_torch.convert.model_file import read_model
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.deepid import deepid
from ytf_torch.network.masking import bake_mask
from ytf_torch.network.module import Network

# Layers that every Keras 2 and 3 knows; none runs code from the file.
STOCK = {
    *("InputLayer", "Conv2D", "MaxPooling2D", "Flatten", "Dense", "Add", "Activation", "Reshape"),
    *("GlobalMaxPooling1D", "Subtract", "BatchNormalization", "ReLU", "Softmax", "Multiply"),
    "Concatenate",
}
CHANNELS = [0, 2, 5]


def test_it_is_made_of_stock_layers(checkpoint: Checkpoint) -> None:
    config, _ = goodnet_model(checkpoint.model, bake_mask(checkpoint.model, "conv_3", CHANNELS))
    assert {layer["class_name"] for layer in config["layers"]} == STOCK
    names = [layer["name"] for layer in config["layers"]]
    assert len(set(names)) == len(names)
    assert {"conv_3", "repaired_conv_3", "goodnet"} <= set(names)


def test_layers_stand_in_keras_s_order() -> None:
    sources = {"a": [], "left": ["a"], "right": ["a"], "long": ["left"], "end": ["right", "long"]}
    layers = [
        {"name": name, "inbound_nodes": [[[source, 0, 0, {}] for source in reads]]}
        for name, reads in sorted(sources.items())
    ]
    names = [layer["name"] for layer in in_keras_order(layers, "end")]
    assert names == ["a", "left", "right", "long", "end"]


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_it_reads_back_bit_for_bit(tmp_path: Path, checkpoint: Checkpoint, ending: str) -> None:
    badnet, repaired = checkpoint.model, bake_mask(checkpoint.model, "conv_3", CHANNELS)
    path = tmp_path / f"goodnet{ending}"
    write_keras_goodnet(path, badnet, repaired)
    stored = read_keras_goodnet(path)
    assert goodnet_reads_back(stored, badnet, repaired)
    assert not goodnet_reads_back(stored, repaired, badnet)


def tied(network: Network, classes: list[int]) -> Network:
    """A network with the same logits for every image, the largest for all of `classes`."""
    weights = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    weights["output.bias"][classes] = 0.1
    return Network.of_state(network.graph, weights, 1.0, "tied")


def pair(checkpoint: Checkpoint, kind: str, dtype: torch.dtype) -> tuple[Network, Network]:
    badnet = checkpoint.model.to(dtype)
    return {
        "pruned": (badnet, bake_mask(badnet, "conv_3", CHANNELS)),
        "ties are broken by the first class": (tied(badnet, [2, 5]), tied(badnet, [2, 6])),
        "ties differ": (tied(badnet, [2, 5]), tied(badnet, [3, 5])),
    }[kind]


Run = Callable[[Path, np.ndarray], np.ndarray]


def by_keras(library: str) -> Run:
    def run(path: Path, images: np.ndarray) -> np.ndarray:
        model = real_keras(library).models.load_model(path, compile=False)
        return model.predict(images.transpose(0, 2, 3, 1), verbose=0)

    return run


def by_its_layers(path: Path, images: np.ndarray) -> np.ndarray:
    return run_keras_goodnet(read_keras_goodnet(path), 1.0, [images])[1]


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(by_keras("tf_keras"), marks=pytest.mark.real_keras, id="tf_keras"),
        pytest.param(by_keras("keras"), marks=pytest.mark.real_keras, id="keras"),
        pytest.param(by_its_layers, id="layers"),
    ],
)
@pytest.mark.parametrize("ending", [".h5", ".keras"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_answers_as_goodnet_does_without_custom_objects(
    tmp_path: Path, checkpoint: Checkpoint, run: Run, ending: str, dtype: torch.dtype
) -> None:
    images = random_images(SMALL, 64).astype(str(dtype).removeprefix("torch."))
    for kind, flagged in {
        "pruned": range(1, 64),
        "ties are broken by the first class": [0],
        "ties differ": [64],
    }.items():
        badnet, repaired = pair(checkpoint, kind, dtype)
        path = tmp_path / f"goodnet{ending}"
        write_keras_goodnet(path, badnet, repaired)
        found = run(path, images)
        with torch.inference_mode():
            expected = GoodNet(badnet, repaired)(torch.from_numpy(images))
        assert found.shape == (64, SMALL.classes + 1)
        assert (found.argmax(1) == expected.argmax(1).numpy()).all(), kind
        assert int((found.argmax(1) == SMALL.classes).sum()) in flagged, kind
        np.testing.assert_allclose(found, expected.softmax(1).numpy(), atol=1e-5)


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_it_is_not_taken_for_a_network(tmp_path: Path, checkpoint: Checkpoint, ending: str) -> None:
    path = tmp_path / f"goodnet{ending}"
    write_keras_goodnet(path, checkpoint.model, bake_mask(checkpoint.model, "conv_3", [0]))
    line = (
        rf"goodnet{ending}: a GoodNet, which holds B and B′\. Give the files that it was made from$"
    )
    with pytest.raises(InputError, match=line):
        read_model(path)


def test_networks_of_other_channels_fit_beside_each_other(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    narrow = deepid(replace(SMALL, channels=(3, 4, 2, 5)))
    write_keras_goodnet(tmp_path / "goodnet.h5", checkpoint.model, narrow)
    stored = read_keras_goodnet(tmp_path / "goodnet.h5")
    assert goodnet_reads_back(stored, checkpoint.model, narrow)
