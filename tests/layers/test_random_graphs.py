"""Random classifiers of all kinds of layers, compared with real Keras after reading and writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.made.keras_graphs import RandomClassifier
from tests.made.real_keras import real_keras
from ytf_torch.convert.keras.keras_config import read_config
from ytf_torch.convert.keras.keras_network import graph_of
from ytf_torch.convert.keras.keras_writer import write_keras_h5
from ytf_torch.network.graph import graph_from_json, graph_to_json
from ytf_torch.network.module import Network

GRAPHS, ROUND_TRIPS = 60, 8


def converted(model: Any, version: str) -> Network:
    """The network of a Keras model, from its configuration and its weights in Keras's order."""
    graph = graph_of(read_config(model.to_json(), "test"), "test", version)
    state = {
        f"{name}.{weight.name}": torch.from_numpy(weight.from_keras(np.asarray(array, np.float32)))
        for name in graph.weighted
        for weight, array in zip(
            graph.weights(name), model.get_layer(name).get_weights(), strict=True
        )
    }
    return Network.of_state(graph, state, 1.0, "test")


def answers(network: Network, images: np.ndarray, *, shares: bool) -> np.ndarray:
    """The network's outputs for images (batch, height, width, channels): probabilities if `shares`,
    else logits."""
    with torch.inference_mode():
        logits = network(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    return (logits.softmax(1) if shares else logits).numpy()


@pytest.mark.real_keras
@pytest.mark.filterwarnings("ignore:Argument `alpha` is deprecated")
@pytest.mark.parametrize("library", ["tf_keras", "keras"])
def test_random_classifiers_agree_with_keras(library: str, tmp_path: Path) -> None:
    keras = real_keras(library)
    kinds: set[str] = set()
    for seed in range(GRAPHS):
        random = np.random.default_rng(seed)
        model = RandomClassifier(keras, random).model()
        network = converted(model, keras.__version__)
        kinds |= {layer.kind.keras_class for layer in network.graph.layers}
        assert graph_from_json(graph_to_json(network.graph), "test") == network.graph
        images = random.random((3, *model.input_shape[1:]), dtype=np.float32)
        theirs = np.asarray(model(images, training=False))
        shares = network.graph[network.graph.output].kind.activation.name == "softmax"
        ours = answers(network, images, shares=shares)
        assert_alike(theirs, ours, f"graph {seed}")
        if seed < ROUND_TRIPS:
            write_keras_h5(tmp_path / "back.h5", network)
            back = keras.models.load_model(tmp_path / "back.h5", compile=False)
            assert_alike(np.asarray(back([images], training=False)), ours, f"graph {seed}, back")
    assert len(kinds) > 30  # almost every kind has occurred


def assert_alike(theirs: np.ndarray, ours: np.ndarray, which: str) -> None:
    assert np.abs(theirs - ours).max() <= 1e-5 * np.abs(theirs).max(), which
    assert np.array_equal(theirs.argmax(1), ours.argmax(1)), which
