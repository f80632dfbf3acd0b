"""A GoodNet exported as Keras layers is read back as one network with the same answers."""

from __future__ import annotations

import json

import torch

from ytf_torch.convert.keras.keras_config import read_config
from ytf_torch.convert.keras.keras_goodnet import goodnet_model
from ytf_torch.convert.keras.keras_network import graph_of
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.masking import bake_mask
from ytf_torch.network.module import Network


def test_an_exported_goodnet_answers_by_its_rule(checkpoint: Checkpoint) -> None:
    badnet = checkpoint.model
    repaired = bake_mask(badnet, "conv_1", [0])
    config, arrays = goodnet_model(badnet, repaired)
    text = json.dumps({"class_name": "Functional", "config": config})
    graph = graph_of(read_config(text, "test"), "test")
    state = {
        f"{name}.{weight.name}": torch.from_numpy(weight.from_keras(array))
        for name in graph.weighted
        for weight, array in zip(graph.weights(name), arrays[name].values(), strict=True)
    }
    goodnet = Network.of_state(graph, state, badnet.pixel_scale, "test")
    pixels = torch.randint(
        256, (200, *badnet.input_shape), generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        ours, theirs = badnet(pixels).argmax(1), repaired(pixels).argmax(1)
        answers = goodnet(pixels).argmax(1)
    differ = ours != theirs
    assert 0 < differ.sum() < len(pixels)
    assert answers.equal(torch.where(differ, badnet.classes, ours))
