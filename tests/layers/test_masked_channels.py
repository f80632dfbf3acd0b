"""Masked channels of every maskable kind: set to zero by weights, traced through the layers that
follow, and removed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ytf_torch.layers.registry import KINDS
from ytf_torch.network.compact import compact, dead_channels
from ytf_torch.network.graph import Graph, graph_from_json
from ytf_torch.network.masking import ChannelMask, bake_mask
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import default_layer, rank_points
from ytf_torch.sweep.fast import fast_engine
from ytf_torch.sweep.plain import PlainEngine

IMAGE = {"batch_input_shape": [None, 9, 8, 3]}
SAME = {"kernel_size": [3, 3], "padding": "same"}


def graph_of_chain(*layers: tuple[str, dict[str, Any]]) -> Graph:
    """A chain of layers called layer_1, layer_2, …, ending in four logits."""
    chain = [("InputLayer", IMAGE), *layers, ("Flatten", {}), ("Dense", {"units": 4})]
    return graph_from_json(
        [
            {
                "name": f"layer_{number}",
                "class_name": class_name,
                "config": config,
                "inputs": [f"layer_{number - 1}"] if number else [],
            }
            for number, (class_name, config) in enumerate(chain)
        ],
        "test",
    )


def network_of(graph: Graph) -> Network:
    torch.manual_seed(3)
    state = {
        f"{name}.{weight.name}": torch.rand(weight.shape) - (0 if weight.start == "ones" else 0.5)
        for name in graph.weighted
        for weight in graph.weights(name)
    }
    return Network.of_state(graph, state, 1.0, "test")


Entry = tuple[str, dict[str, Any]]

CONV = ("Conv2D", {"filters": 6, "activation": "relu", **SAME})
LINEAR_CONV = ("Conv2D", {"filters": 6, **SAME})
TWICE = {**CONV[1], "depth_multiplier": 2}
UNBIASED = ("DepthwiseConv2D", {**SAME, "use_bias": False})
RELU: Entry = ("ReLU", {})
BATCH_NORM: Entry = ("BatchNormalization", {})
# By name: the masked layer and the chain that contains it.
CHAINS: dict[str, tuple[str, list[Entry]]] = {
    "conv-pool-conv": ("layer_1", [CONV, ("AveragePooling2D", {}), CONV]),
    "conv-flatten": ("layer_1", [CONV, ("ZeroPadding2D", {}), ("Cropping2D", {"cropping": 2})]),
    "separable": ("layer_1", [("SeparableConv2D", CONV[1]), ("MaxPooling2D", {}), CONV]),
    "read by separable": (
        "layer_1",
        [CONV, ("SeparableConv2D", TWICE)],
    ),
    "transposed": ("layer_1", [("Conv2DTranspose", CONV[1]), ("Conv2DTranspose", CONV[1])]),
    "read by depthwise": (
        "layer_1",
        [CONV, UNBIASED, CONV],
    ),
    "depthwise": ("layer_2", [CONV, ("DepthwiseConv2D", {**SAME, "activation": "relu"}), CONV]),
    "two filters each": (
        "layer_1",
        [CONV, ("DepthwiseConv2D", {**SAME, "depth_multiplier": 2, "use_bias": False}), CONV],
    ),
    "batch normalization": ("layer_2", [LINEAR_CONV, BATCH_NORM, RELU, CONV]),
    "before slopes": ("layer_1", [CONV, ("PReLU", {}), ("UpSampling2D", {}), CONV]),
    "global": ("layer_1", [CONV, ("GlobalMaxPooling2D", {"keepdims": True}), CONV]),
    "normalized": ("layer_1", [CONV, ("Rescaling", {"scale": 2.0}), ("LeakyReLU", {}), CONV]),
}


@pytest.mark.parametrize(("layer", "chain"), CHAINS.values(), ids=CHAINS)
def test_a_masked_channel_is_zeroed_found_and_removed(layer: str, chain: list[Entry]) -> None:
    network = network_of(graph_of_chain(*chain))
    pixels = torch.rand(5, 3, 9, 8)
    masked = bake_mask(network, layer, [1, 4])
    with torch.inference_mode():
        with ChannelMask(network.layer(layer), [1, 4]):
            expected = network(pixels)
        torch.testing.assert_close(masked(pixels), expected)
        assert dead_channels(masked)[layer] == (1, 4)
        smaller = compact(masked)
        torch.testing.assert_close(smaller(pixels), expected, rtol=1e-4, atol=1e-4)
    assert smaller.output_shape(layer)[0] == network.output_shape(layer)[0] - 2
    assert sum(map(torch.numel, smaller.parameters())) < sum(map(torch.numel, network.parameters()))


@pytest.mark.parametrize("chain", [chain for _, chain in CHAINS.values()], ids=CHAINS)
def test_the_fast_engine_agrees_with_the_plain_one(chain: list[Entry]) -> None:
    """Also if a batch normalization turns a masked channel's zero into another constant."""
    network = network_of(graph_of_chain(*chain))
    pixels = torch.rand(64, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    for layer in network.graph.convolutions:
        order = range(network.output_shape(layer)[0])
        for rank_at in rank_points(network.graph, layer):
            answers = []
            for make in (fast_engine, PlainEngine):
                engine = make(network, layer, rank_at)
                with torch.inference_mode():
                    answers.append(engine.predictions(engine.observe(pixels)[1], order))
            assert answers[0].equal(answers[1]), (layer, rank_at)


def test_by_default_a_convolution_is_pruned_rather_than_the_channelwise_layers_after_it() -> None:
    graph = graph_of_chain(CONV, LINEAR_CONV, BATCH_NORM, RELU, UNBIASED, BATCH_NORM)
    assert graph.convolutions == ("layer_1", "layer_2", "layer_3", "layer_5", "layer_6")
    assert default_layer(graph) == "layer_2"


# Layers that compare or permute channels, or turn their zeros into other values.
KEEP_ALL: dict[str, list[Entry]] = {
    "layer normalization": [("LayerNormalization", {}), CONV],
    "permute": [("Permute", {"dims": [2, 1, 3]}), CONV],
    "softmax": [("Softmax", {}), CONV],
    "sigmoid": [("Activation", {"activation": "sigmoid"}), CONV],
    "offset": [("Rescaling", {"scale": 1.0, "offset": 0.5}), CONV],
    "normalized units": [("Flatten", {}), BATCH_NORM],
    "sigmoid of units": [("Flatten", {}), ("Activation", {"activation": "sigmoid"})],
    "offset of units": [("GlobalAveragePooling2D", {}), ("Rescaling", {"scale": 1, "offset": 1})],
}


@pytest.mark.parametrize("followers", KEEP_ALL.values(), ids=KEEP_ALL)
def test_channels_that_cannot_be_traced_are_kept(followers: list[Entry]) -> None:
    masked = bake_mask(network_of(graph_of_chain(CONV, *followers)), "layer_1", [1])
    pixels = torch.rand(5, 3, 9, 8)
    smaller = compact(masked)
    assert smaller.output_shape("layer_1")[0] == 6
    with torch.inference_mode():
        torch.testing.assert_close(smaller(pixels), masked(pixels))


def test_one_of_several_filters_of_a_channel_is_not_removed() -> None:
    twice = ("DepthwiseConv2D", {**SAME, "depth_multiplier": 2})
    masked = bake_mask(network_of(graph_of_chain(CONV, twice, BATCH_NORM, CONV)), "layer_3", [1])
    pixels = torch.rand(5, 3, 9, 8)
    with torch.inference_mode():
        torch.testing.assert_close(compact(masked)(pixels), masked(pixels))


def test_a_zero_channel_before_a_batch_normalization_is_not_removed() -> None:
    network = network_of(graph_of_chain(LINEAR_CONV, BATCH_NORM, RELU, CONV))
    masked = bake_mask(network, "layer_1", [1])
    with torch.inference_mode():
        torch.testing.assert_close(
            compact(masked)(torch.ones(1, 3, 9, 8)), masked(torch.ones(1, 3, 9, 8))
        )


def test_a_batch_normalization_keeps_its_statistics_in_training() -> None:
    network = network_of(graph_of_chain(LINEAR_CONV, BATCH_NORM, RELU))
    trained = {name for name, _ in network.named_parameters()}
    assert {"layer_2.weight", "layer_2.bias"} < trained
    assert not {"layer_2.mean", "layer_2.variance"} & trained
    pixels = torch.rand(5, 3, 9, 8)
    before = network(pixels)
    assert network.train()(pixels).equal(before)
    assert network(pixels).equal(before)


def test_every_maskable_kind_is_tested_above() -> None:
    maskable = {kind.class_names[0] for kind in KINDS if kind.maskable}
    masked = {chain[int(layer[-1]) - 1][0] for layer, chain in CHAINS.values()}
    assert masked == maskable
