"""Masked channels removed for good: a smaller network that answers alike, and what that spares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from ytf_torch.network.graph import Layer, checked_graph
from ytf_torch.network.masking import weights_of
from ytf_torch.network.module import Network

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
    """The channels of each convolution that are zero on any image, by its weights alone."""
    return {
        name: tuple(_dead(network, name).nonzero().flatten().tolist())
        for name in network.graph.convolutions
    }


def compact(network: Network) -> Network:
    """A copy without the channels that are zero on any image, and without what reads them.

    Its logits are the network's within rounding. A convolution keeps one channel where all are
    dead, and those that cannot be taken out: where they enter a sum with other channels, or a
    batch normalization has made something else of the zero.

    >>> masked = ytf_torch.bake_mask(network, "conv_3", [0, 4])
    >>> compact(masked).conv_3.out_channels == network.conv_3.out_channels - 2
    True
    """
    own = {name: _removable(network, name) for name in network.graph.convolutions}
    kept = _kept(network, {name: ~dead for name, dead in own.items() if dead.any()})
    layers: list[Layer] = []
    state: dict[str, Tensor] = {}
    for layer in network.graph.layers:
        if layer.name == network.graph.input:
            layers.append(layer)
            continue
        weights = weights_of(network, layer.name)
        inputs = [kept[source] for source in layer.inputs]
        kind, narrowed = layer.kind.narrowed(weights, inputs, kept[layer.name])
        layers.append(replace(layer, kind=kind))
        state |= {f"{layer.name}.{name}": tensor.clone() for name, tensor in narrowed.items()}
    graph = checked_graph(layers, "compact network")
    smaller = Network.of_state(graph, state, network.pixel_scale, "compact network")
    return smaller.to(network.device)


def cost_of(network: Network) -> Cost:
    """Count a network's parameters and multiply-adds, and measure its time on random faces."""
    graph = network.graph
    multiply_adds = sum(
        layer.kind.multiply_adds(*graph.input_shapes(layer.name)) for layer in graph.layers
    )
    parameters = sum(weight.values for name in graph.weighted for weight in graph.weights(name))
    return Cost(parameters, multiply_adds, _milliseconds(network))


def _dead(network: Network, name: str) -> Tensor:
    """Which channels of a convolution are zero on any image, (channels,)."""
    silent = network.graph[name].kind.silent(weights_of(network, name))
    return (
        torch.zeros(network.output_shape(name)[0], dtype=torch.bool)
        if silent is None
        else silent.cpu()
    )


def _removable(network: Network, name: str) -> Tensor:
    """Which channels of a convolution can be taken out: they are zero on any image, are still zero
    where they end, and nothing else depends on their place."""
    dead = _dead(network, name)
    if not dead.any():
        return dead
    end = network.graph.maps_of(name)
    zero = torch.zeros(1, *network.output_shape(name), dtype=network.dtype, device=network.device)
    with torch.inference_mode():
        ends = network.output_of(end, {name: zero})[0]
    dead &= (ends == 0).flatten(1).all(1).cpu()
    if dead.all():
        dead[0] = False
    try:
        _kept(network, {name: ~dead})
    except ValueError:
        return torch.zeros_like(dead)
    return dead


def _kept(network: Network, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Which channels or units of each layer's output remain. own: those of some convolutions.

    Raises ValueError where a layer needs what is taken out.
    """
    kept: dict[str, Tensor] = {}
    for layer in network.graph.layers:
        shapes = network.graph.input_shapes(layer.name)
        inputs = [kept[source] for source in layer.inputs]
        if layer.name in own:
            kept[layer.name] = own[layer.name]
        elif all(bool(each.all()) for each in inputs):
            kept[layer.name] = torch.ones(network.output_shape(layer.name)[0], dtype=torch.bool)
        else:
            kept[layer.name] = layer.kind.kept_outputs(*inputs, inputs=shapes)
    return kept


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
