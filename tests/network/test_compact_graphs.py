"""Baking masks into networks of any graph, and removing the masked channels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.made.random_networks import pictures, random_network
from ytf_torch.errors import InputError
from ytf_torch.network.compact import compact
from ytf_torch.network.graph import graph_from_json
from ytf_torch.network.masking import ChannelMask, bake_mask
from ytf_torch.network.pruned_layer import pruned_at


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_network_without_its_masked_channels_answers_alike(seed: int) -> None:
    network = random_network(seed)
    generator = torch.Generator().manual_seed(seed)
    pixels = pictures(network, 24)
    for layer in network.graph.convolutions:
        channels = network.output_shape(layer)[0]
        chosen = (torch.rand(channels, generator=generator) < 0.6).nonzero()[:, 0].tolist()
        baked = bake_mask(network, layer, chosen)
        with torch.inference_mode():
            with ChannelMask(network.layer(layer), chosen):
                hooked = network(pixels)
            torch.testing.assert_close(baked(pixels), hooked, rtol=1e-4, atol=1e-4)
            smaller = compact(baked)
            torch.testing.assert_close(smaller(pixels), hooked, rtol=1e-3, atol=1e-3)
        assert len(smaller.graph.layers) == len(network.graph.layers)


@pytest.mark.parametrize(
    ("class_name", "config"),
    [
        ("Conv2D", {"filters": 4, "kernel_size": 1, "activation": "sigmoid"}),
        ("DepthwiseConv2D", {"kernel_size": 1, "activation": "softplus"}),
        ("BatchNormalization", {"scale": False}),
    ],
)
def test_a_layer_that_no_weights_silence_is_refused_before_anything_is_computed(
    class_name: str, config: dict[str, Any]
) -> None:
    layers: list[tuple[str, str, dict[str, Any]]] = [
        ("image", "InputLayer", {"batch_shape": [None, 4, 4, 3]}),
        ("first", "Conv2D", {"filters": 3, "kernel_size": 1}),
        ("second", class_name, config),
        ("mean", "GlobalAveragePooling2D", {}),
        ("end", "Dense", {"units": 2}),
    ]
    names = ["", *(name for name, _, _ in layers)]
    graph = graph_from_json(
        [
            {"name": name, "class_name": kind, "config": config, "inputs": [before] * bool(before)}
            for (name, kind, config), before in zip(layers, names, strict=False)
        ],
        "test",
    )
    assert graph.convolutions == ("first",)
    with pytest.raises(InputError, match="layer`: expected first, found second"):
        pruned_at(graph, "second", None)
