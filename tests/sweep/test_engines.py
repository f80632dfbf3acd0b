"""Every engine gives the plain engine's predictions, on any graph of layers."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.made.random_networks import pictures, random_network
from ytf_torch.images.batches import BATCH_SIZE, whole_batch
from ytf_torch.network.masking import ChannelMask
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import rank_points
from ytf_torch.sweep.engine import MakeEngine
from ytf_torch.sweep.fast import fast_engine
from ytf_torch.sweep.plain import PlainEngine
from ytf_torch.sweep.prepared import Prepared, group_sizes, grouped
from ytf_torch.sweep.suffix import SuffixEngine


def assert_equal_predictions(
    network: Network, layer: str, rank_at: str, make: MakeEngine = fast_engine, images: int = 70
) -> torch.Tensor:
    """Run both engines on batches as a sweep does; returns the plain engine's predictions."""
    plain, fast = PlainEngine(network, layer, rank_at), make(network, layer, rank_at)
    batches = [whole_batch(part) for part in pictures(network, images).split(BATCH_SIZE)]
    generator = torch.Generator().manual_seed(images)
    channels = network.output_shape(layer)[0]
    order = torch.randperm(channels, generator=generator).tolist()
    with torch.inference_mode():
        for batch in batches:
            assert torch.equal(fast.observe(batch)[0], plain.observe(batch)[0])
        expected = torch.cat([plain.predictions(batch, order) for batch in batches], 1)
        prepared = [Prepared(fast.observe(batch)[1], batch) for batch in batches]
        groups = grouped(prepared, group_sizes(images, fast.group, at_once=1))
        found = torch.cat([fast.predictions(group.tensor, order) for group in groups], 1)
    assert torch.equal(found, expected)
    return expected


def assert_equal_logits(network: Network, layer: str) -> None:
    """Bit-identical logits, with random channels masked."""
    engine = SuffixEngine(network, layer, layer)
    pixels = pictures(network, BATCH_SIZE)
    generator = torch.Generator().manual_seed(1)
    channels = network.output_shape(layer)[0]
    with torch.inference_mode():
        prepared = engine.observe(pixels)[1]
        for _ in range(3):
            masked = torch.rand(channels, generator=generator) < 0.5
            with ChannelMask(network.layer(layer), masked.nonzero()[:, 0].tolist()):
                expected = network(pixels)
            assert torch.equal(engine.logits(prepared, masked[None]), expected)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_random_graphs_at_every_layer_and_rank_point(seed: int) -> None:
    network = random_network(seed)
    for layer in network.graph.convolutions:
        for rank_at in rank_points(network.graph, layer):
            assert_equal_predictions(network, layer, rank_at, images=35)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_logits_of_random_graphs_are_equal_to_the_last_bit(seed: int) -> None:
    network = random_network(seed)
    for layer in network.graph.convolutions:
        assert_equal_logits(network, layer)
