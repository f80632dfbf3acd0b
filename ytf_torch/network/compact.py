"""Remove masked channels: a smaller network with the same logits, and what it saves."""

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

# Batch size and number of timed batches; timing stops early once it has taken TIMED_SECONDS.
TIMED_BATCH, TIMED_BATCHES, TIMED_SECONDS = 32, 72, 1.0


@dataclass(frozen=True)
class Cost:
    """Size and speed of a network.

    parameters: number of weights. multiply_adds: per image, of convolutions and dense layers.
    milliseconds: measured time per image, the median over some batches.
    """

    parameters: int
    multiply_adds: int
    milliseconds: float


def dead_channels(network: Network) -> dict[str, tuple[int, ...]]:
    """The channels of each convolution that are zero for every image, derived from its weights."""
    return {
        layer.name: tuple(
            _dead(network, layer, _every(network, layer)).nonzero().flatten().tolist()
        )
        for layer in network.graph.layers
        if layer.name in network.graph.convolutions
    }


def compact(network: Network) -> Network:
    """A copy without the channels that are zero for every image, and without the weights that read
    them.

    Its logits equal the network's up to rounding. A convolution of dead channels only keeps one.
    Dead channels also stay where removal would change the result: where they are added to other
    channels, or where a later layer such as a batch normalization maps 0 to another value.

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
        # Channelwise layers keep exactly the channels of their input.
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
    """Count a network's parameters and multiply-adds, and measure its time on random images."""
    graph = network.graph
    multiply_adds = sum(
        layer.kind.multiply_adds(*graph.input_shapes(layer.name)) for layer in graph.layers
    )
    parameters = sum(weight.values for name in graph.weighted for weight in graph.weights(name))
    return Cost(parameters, multiply_adds, _milliseconds(network))


def _every(network: Network, layer: Layer) -> list[Tensor]:
    """Masks, (channels,) each, that keep all channels of a layer's inputs."""
    shapes = network.graph.input_shapes(layer.name)
    return [torch.ones(shape[0], dtype=torch.bool) for shape in shapes]


def _dead(network: Network, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """Mask (channels,) of the channels that are zero for every image if only `inputs` are kept.

    inputs: for each input of the layer the mask of kept channels.
    """
    every = torch.ones(network.output_shape(layer.name)[0], dtype=torch.bool)
    kind, weights = layer.kind.narrowed(network.weights_of(layer.name), inputs, every)
    silent = kind.silent(weights)
    return ~every if silent is None else silent.cpu()


def _removable(network: Network, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """Mask (channels,) of the channels of a convolution that can be removed.

    They are zero for every image, in the convolution or in a channelwise layer after it; they are
    still zero at the last layer of their path; and no later layer depends on their position.
    """
    dead = _dead(network, layer, inputs)
    if layer.kind.silent(network.weights_of(layer.name)) is None:
        return dead  # all False: the channels of this kind cannot be removed one by one
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


def _can_be_taken_out(network: Network, convolution: str, remaining: Tensor) -> bool:
    """Whether all later layers still work if only these channels of a convolution are kept."""
    path = channel_path(network.graph, convolution)
    kept: dict[str, Tensor] = {}
    try:
        for layer in network.graph.layers:
            inputs = [kept[source] for source in layer.inputs]
            kept[layer.name] = (
                remaining if layer.name == convolution else _kept(network, layer, inputs)
            )
            # Within the path the removed channels may be nonzero; _removable has checked its end.
            if layer.name not in path:
                _check_still_zero(network, layer.name, kept[layer.name])
    except ValueError:
        return False
    return True


def _kept(network: Network, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """Mask of the output channels or units that a layer keeps if only `inputs` are kept.

    Raises ValueError where the layer needs what is removed.
    """
    if all(bool(mask.all()) for mask in inputs):
        return torch.ones(network.output_shape(layer.name)[0], dtype=torch.bool)
    return layer.kind.kept_outputs(*inputs, inputs=network.graph.input_shapes(layer.name))


@torch.inference_mode()
def _check_still_zero(network: Network, name: str, kept: Tensor) -> None:
    """Raises ValueError where a layer, such as a sigmoid or a batch normalization of units, maps
    the removed zeros to other values."""
    zeros = (
        torch.zeros(1, *shape, dtype=network.dtype, device=network.device)
        for shape in network.graph.input_shapes(name)
    )
    if bool(kept.all()):
        return
    output: Tensor = network.layer(name)(*zeros)
    if bool((output[0].cpu()[~kept] != 0).any()):
        raise ValueError(f"{name} maps 0 to another value")


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
