from __future__ import annotations

import pytest
import torch

from tests.made.keras_files import SMALL
from ytf_torch.network.deepid import deepid, deepid_graph
from ytf_torch.network.fork import Fork, fork_of
from ytf_torch.network.graph import graph_from_json

DEEPID = deepid_graph(SMALL)


@pytest.mark.parametrize(
    ("name", "readers"),
    [
        ("pool_1", ("conv_2",)),
        ("conv_3", ()),
        ("pool_3", ("fc_1", "conv_4")),
        ("conv_4", ("fc_2",)),
        ("fc_1", ()),
    ],
)
def test_what_is_linear_up_to_the_next_relu(name: str, readers: tuple[str, ...]) -> None:
    assert DEEPID.linear_readers(name) == readers


def test_deepid_ends_in_a_fork() -> None:
    assert fork_of(DEEPID) == Fork("pool_3", "fc_1", "conv_4", "fc_2", "output")


def test_a_network_without_a_fork() -> None:
    record = [
        {"name": "input", "class_name": "InputLayer", "config": {"batch_shape": [None, 6, 5, 3]}},
        {"name": "conv", "class_name": "Conv2D", "config": {"filters": 4, "kernel_size": 3}},
        {"name": "flat", "class_name": "Flatten", "config": {}},
        {"name": "dense", "class_name": "Dense", "config": {"units": 8, "activation": "relu"}},
        {"name": "output", "class_name": "Dense", "config": {"units": 5}},
    ]
    names = [str(layer["name"]) for layer in record]
    chain = [
        layer | {"inputs": [before] if before else []}
        for layer, before in zip(record, ["", *names], strict=False)
    ]
    assert fork_of(graph_from_json(chain, "chain")) is None


def test_keras_lists_layers_from_the_farthest_from_the_output() -> None:
    names = [layer.name for layer in DEEPID.by_depth()]
    ends = ["conv_4", "flatten_1", "flatten_2", "fc_1", "fc_2", "add_1", "activation_1", "output"]
    assert names[7:] == ends


@pytest.mark.parametrize("known", ["input", "conv_2", "pool_3"])
def test_logits_can_be_computed_from_any_layer_on(known: str) -> None:
    model = deepid(SMALL).eval()
    pixels = torch.randint(0, 256, (3, *SMALL.input_shape), dtype=torch.uint8)
    with torch.inference_mode():
        output = model.output_of(known, {"input": model.scale(pixels)})
        assert tuple(output.shape[1:]) == model.output_shape(known)
        assert torch.equal(model.output_of("output", {known: output}), model(pixels))
