"""Masked channels removed for good: a smaller network that answers alike, and what that spares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from ytf_torch.network.graph import Layer, checked_graph
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import channel_path, maps_of

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
        layer.name: tuple(
            _dead(network, layer, _every(network, layer)).nonzero().flatten().tolist()
        )
        for layer in network.graph.layers
        if layer.name in network.graph.convolutions
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
    kept: dict[str, Tensor] = {}
    layers: list[Layer] = []
    state: dict[str, Tensor] = {}
    for layer in network.graph.layers:
        inputs = [kept[source] for source in layer.inputs]
        kept[layer.name] = _kept(network, layer, inputs)
        if not layer.inputs:
            layers.append(layer)
            continue
        # Channels of a layer that keeps them apart go with those that it reads.
        if layer.name in network.graph.convolutions and not layer.kind.channelwise:
            kept[layer.name] &= ~_removable(network, layer, inputs)
        weights = network.weights_of(layer.name)
        kind, narrowed = layer.kind.narrowed(weights, inputs, kept[layer.name])
        layers.append(replace(layer, kind=kind))
        state |= {f"{layer.name}.{name}": tensor.clone() for name, tensor in narrowed.items()}
    graph = checked_graph(layers, "compact network")
    smaller = Network.of_state(graph, state, network.pixel_preprocessing, "compact network")
    return smaller.to(network.device)


def cost_of(network: Network) -> Cost:
    """Count a network's parameters and multiply-adds, and measure its time on random faces."""
    graph = network.graph
    multiply_adds = sum(
        layer.kind.multiply_adds(*graph.input_shapes(layer.name)) for layer in graph.layers
    )
    parameters = sum(weight.values for name in graph.weighted for weight in graph.weights(name))
    return Cost(parameters, multiply_adds, _milliseconds(network))


def _every(network: Network, layer: Layer) -> list[Tensor]:
    shapes = network.graph.input_shapes(layer.name)
    return [torch.ones(shape[0], dtype=torch.bool) for shape in shapes]


def _dead(network: Network, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """Which channels of a layer are zero on any image, (channels,), where only `inputs` of what it
    reads remain."""
    every = torch.ones(network.output_shape(layer.name)[0], dtype=torch.bool)
    kind, weights = layer.kind.narrowed(network.weights_of(layer.name), inputs, every)
    silent = kind.silent(weights)
    return ~every if silent is None else silent.cpu()


def _removable(network: Network, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """Which channels of a convolution can be taken out: they, or what a layer such as its batch
    normalization makes of them, are zero on any image, are zero where they end, and nothing else
    depends on their place."""
    dead = _dead(network, layer, inputs)
    if layer.kind.silent(network.weights_of(layer.name)) is None:
        return dead  # none, for its channels cannot be taken out one by one
    for name in channel_path(network.graph, layer.name)[1:]:
        later = network.graph[name]
        dead = dead | _dead(network, later, _every(network, later))
    if not dead.any():
        return dead
    end = maps_of(network.graph, layer.name)
    shape = network.output_shape(layer.name)
    zero = torch.zeros(1, *shape, dtype=network.dtype, device=network.device)
    with torch.inference_mode():
        ends = network.output_of(end, {layer.name: zero})[0]
    dead &= (ends == 0).flatten(1).all(1).cpu()
    if dead.all():
        dead[0] = False
    return dead if _can_be_taken_out(network, layer.name, ~dead) else torch.zeros_like(dead)


def _can_be_taken_out(network: Network, convolution: str, own: Tensor) -> bool:
    """Whether all that follows a convolution can do with `own` of its channels alone."""
    path = channel_path(network.graph, convolution)
    kept: dict[str, Tensor] = {}
    try:
        for layer in network.graph.layers:
            inputs = [kept[source] for source in layer.inputs]
            kept[layer.name] = own if layer.name == convolution else _kept(network, layer, inputs)
            # Up to where its channels end, they may be anything; there they are zero.
            if layer.name not in path:
                _check_still_zero(network, layer.name, kept[layer.name])
    except ValueError:
        return False
    return True


def _kept(network: Network, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """Which channels or units of a layer's output remain where only `inputs` of what it reads do.

    Raises ValueError where the layer needs what is taken out.
    """
    if all(bool(each.all()) for each in inputs):
        return torch.ones(network.output_shape(layer.name)[0], dtype=torch.bool)
    return layer.kind.kept_outputs(*inputs, inputs=network.graph.input_shapes(layer.name))


@torch.inference_mode()
def _check_still_zero(network: Network, name: str, kept: Tensor) -> None:
    """Raises ValueError where a layer, such as a sigmoid or a batch normalization of units, makes
    something else of the zeros that are taken out before it."""
    zeros = (
        torch.zeros(1, *shape, dtype=network.dtype, device=network.device)
        for shape in network.graph.input_shapes(name)
    )
    if bool(kept.all()):
        return
    output: Tensor = network.layer(name)(*zeros)
    if bool((output[0].cpu()[~kept] != 0).any()):
        raise ValueError(f"{name} makes something else of a zero")


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
