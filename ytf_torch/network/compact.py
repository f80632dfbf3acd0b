"""Masked channels removed for good: a smaller network that answers alike, and what that spares."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TypeVar, cast

import torch
from torch import Tensor

from ytf_torch.network.module import Network

AnyNetwork = TypeVar("AnyNetwork", bound=Network)
# Batches of faces that are timed, fewer where they take longer than so many seconds together.
TIMED_BATCH, TIMED_BATCHES, TIMED_SECONDS = 32, 72, 1.0


@dataclass(frozen=True)
class Cost:
    """What a network takes.

    parameters: numbers in it. multiply_adds: products summed up for one face, of convolutions and
    dense layers. milliseconds: measured for one face, the median of some batches.
    """

    parameters: int
    multiply_adds: int
    milliseconds: float


def dead_channels(network: Network) -> dict[str, tuple[int, ...]]:
    """The channels of each convolution that are zero on any face: their kernels are zero and their
    bias is not above it."""
    return {
        name: tuple(_dead(network.state_dict(), name).nonzero().flatten().tolist())
        for name in network.graph.convolutions
    }


def compact(network: AnyNetwork) -> AnyNetwork:
    """A copy without the channels that are zero on any face, and without what reads them.

    Its logits are the network's within rounding. A convolution keeps one channel where all are
    dead.

    >>> masked = ytf_torch.bake_mask(network, "conv_3", [0, 4])
    >>> compact(masked).conv_3.out_channels == network.conv_3.out_channels - 2
    True
    """
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    for name in network.graph.convolutions:
        alive = ~_dead(state, name)
        if not alive.any():
            alive[0] = True
        for part in ("weight", "bias"):
            state[f"{name}.{part}"] = state[f"{name}.{part}"][alive]
        for reader, values in _readers(network, name):
            # A dense layer reads `values` numbers of each channel, one after the other.
            state[f"{reader}.weight"] = state[f"{reader}.weight"][
                :, alive.repeat_interleave(values)
            ]
    smaller = type(network).of_state(
        state, network.input_shape, network.pixel_scale, "compact network"
    )
    return cast(AnyNetwork, smaller.to(network.device))


def cost_of(network: Network) -> Cost:
    """Count a network's parameters and multiply-adds, and measure its time on random faces."""
    multiply_adds = 0
    for name in network.graph.weighted:
        places = network.output_shape(name)[1:]
        multiply_adds += network.get_parameter(f"{name}.weight").numel() * math.prod(places)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(parameters, multiply_adds, _milliseconds(network))


def _dead(state: dict[str, Tensor], name: str) -> Tensor:
    silent: Tensor = (state[f"{name}.weight"] == 0).flatten(1).all(1)
    return silent & (state[f"{name}.bias"] <= 0)


def _readers(network: Network, name: str) -> Iterator[tuple[str, int]]:
    """The layers with weights that read a convolution's channels, through pools and flattening, and
    how many numbers of each channel stand in a row of what they read."""
    for reader in network.graph.readers(name):
        kind = network.graph[reader].kind
        if kind == "flatten":
            values = math.prod(network.output_shape(network.graph[reader].inputs[0])[1:])
            yield from ((dense, values) for dense in network.graph.readers(reader))
        elif kind == "pool":
            yield from _readers(network, reader)
        else:
            yield reader, 1


def _milliseconds(network: Network) -> float:
    generator = torch.Generator().manual_seed(0)
    shape = (TIMED_BATCH, *network.input_shape)
    pixels = torch.randint(256, shape, generator=generator, dtype=torch.uint8).to(network.device)
    seconds: list[float] = []
    with torch.inference_mode():
        while len(seconds) < TIMED_BATCHES and sum(seconds) < TIMED_SECONDS:
            start = perf_counter()
            network(pixels).cpu()
            seconds.append(perf_counter() - start)
    return 1000 * median(seconds) / TIMED_BATCH
