"""Limits on memory and compute of a network, checked before anything is allocated.

A file of a megabyte can describe a network whose feature maps need gigabytes, or whose sweep never
ends, because of large images, many channels or many classes. Each limit is well above the cost of
three reference networks, given in its comment in this order: the lab's (55×47 pixels, 40 people),
one with four times its channels and units, and the lab's on images of 128×128 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.fork import Fork, fork_of
from ytf_torch.network.graph import Graph
from ytf_torch.network.pruned_layer import default_layer, maps_of

# Batch size of inference, see images/batches.py.
BATCH = 32
# Bytes in memory at the same time: 51, 236 and 340 MB for the three networks in float64, half of
# that in float32.
MAX_MEMORY = 448_000_000
# Multiply-adds per image: 8, 102 and 65 million.
MAX_MULTIPLY_ADDS = 500_000_000
# Multiply-adds per image of a sweep that recomputes all layers after the masked one for each
# channel, with memory traffic converted to multiply-adds: 0.2, 8.3 and 1.4 billion.
MAX_SWEPT = 12_000_000_000
# Values that the fast sweep precomputes instead of recomputing those layers: 1, 22 and 161 million.
# Beyond the limit, as for the third network, it falls back to recomputing them.
MAX_CONTRIBUTIONS = 24_000_000
# Limit in place of MAX_SWEPT for that fallback: 0.6 billion for the third network.
MAX_SWEPT_AGAIN = 1_000_000_000
# Reading or writing one value costs about as much time as this many multiply-adds.
MOVING = 20
# The widest layers of well-known networks have 2,048 channels, the largest public set of faces has
# 100,000 people.
MAX_CHANNELS = 2_048
MAX_CLASSES = 100_000
# Largest batch size of the methods that need gradients: FT-SAM's, and Neural Cleanse's with 8
# classes of 16 images.
LEARNED = 128
# Bytes that a backward pass for such a batch needs: 94, 377 and 740 million for the three networks,
# in float32. The third is refused: libraries and data loaded before need the same amount again.
MAX_LEARNED = 550_000_000

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Cost:
    """Cost of a network.

    values: in memory at the same time, for a batch of BATCH images and two copies of the weights.
    multiply_adds: per image. contributions: see `contributions`; 0 without a fork.
    """

    values: int
    multiply_adds: int
    contributions: int


def cost_of(graph: Graph) -> Cost:
    """The cost of a network, from its graph alone:
    `values = BATCH · max(inputs + outputs + workspace, over layers) + 2 · parameters`."""
    moved = _moved(graph)
    parameters = sum(map(math.prod, graph.parameter_shapes.values()))
    at_once = max(moved[name] + _workspace(graph, name) for name in moved)
    fork = fork_of(graph)
    return Cost(
        values=BATCH * at_once + 2 * parameters,
        multiply_adds=sum(_work(graph, name) for name in moved),
        contributions=0 if fork is None else contributions(fork, graph.shapes),
    )


def _work(graph: Graph, name: str) -> int:
    return graph[name].kind.multiply_adds(*graph.input_shapes(name))


def _workspace(graph: Graph, name: str) -> int:
    return graph[name].kind.workspace(*graph.input_shapes(name))


def swept(graph: Graph, layer: str) -> int:
    """Multiply-adds per image of a sweep that masks the channels of a layer one by one and
    recomputes all later layers for each: `channels · Σ (multiply_adds + MOVING · values)` over
    later layers.
    """
    names = [other.name for other in graph.layers]
    moved = _moved(graph)
    later = names[names.index(layer) + 1 :]
    return graph.shapes[layer][0] * sum(_work(graph, name) + MOVING * moved[name] for name in later)


def _moved(graph: Graph) -> dict[str, int]:
    """Layer → number of values that it reads and writes per image."""
    return {
        layer.name: sum(map(math.prod, (graph.shapes[layer.name], *graph.input_shapes(layer.name))))
        for layer in graph.layers
    }


def contributions(fork: Fork, outputs: Shapes) -> int:
    """Number of values needed to store the contribution of each value of the fork's maps to each
    output of the two layers that read them: `|maps| · (|direct| + |convolution|)`."""
    reached = math.prod(outputs[fork.direct]) + math.prod(outputs[fork.convolution])
    return math.prod(outputs[fork.maps]) * reached


def check_budget(where: object, graph: Graph, value_bytes: int = 8) -> None:
    """Raises InputError where a network exceeds one of the limits above.

    where: what to name in the error. value_bytes: bytes per value.
    """
    for name in graph.weighted:
        classes = name == graph.output
        limit, unit = (MAX_CLASSES, "classes") if classes else (MAX_CHANNELS, "channels")
        channels = graph.shapes[name][0]
        if (classes or len(graph.shapes[name]) == 3) and channels > limit:
            raise _beyond(f"{where}, {name}", f"at most {limit:,} {unit}", f"{channels:,}")
    cost = cost_of(graph)
    for limit, actual, unit in (
        (MAX_MEMORY, value_bytes * cost.values, f"MB of memory for {BATCH} images"),
        (MAX_MULTIPLY_ADDS, cost.multiply_adds, "million multiply-adds per image"),
    ):
        if actual > limit:
            expected = f"a network that needs at most {limit // 10**6:,} {unit}"
            raise _beyond(where, expected, f"one of {actual // 10**6:,}")
    if graph.convolutions:
        check_swept(where, graph, default_layer(graph))


def check_swept(where: object, graph: Graph, layer: str) -> None:
    """Raises InputError where a sweep of a layer's channels would exceed the limits above.

    where: what to name in the error.
    """
    actual, limit = swept(graph, layer), MAX_SWEPT
    fork = fork_of(graph)
    if fork is not None and maps_of(graph, layer) == fork.maps:
        if contributions(fork, graph.shapes) <= MAX_CONTRIBUTIONS:
            return
        limit = MAX_SWEPT_AGAIN
    if actual > limit:
        unit = "million multiply-adds per image in a sweep"
        expected = f"a network that needs at most {limit // 10**6:,} {unit} of {layer}"
        raise _beyond(where, expected, f"one of {actual // 10**6:,}")


def check_learned(where: object, graph: Graph, value_bytes: int) -> None:
    """Raises InputError where gradients for LEARNED images would need more than MAX_LEARNED bytes:
    all layers' outputs are kept until the backward pass.

    where: what to name in the error. value_bytes: bytes per value.
    """
    actual = LEARNED * sum(_moved(graph).values()) * value_bytes
    if actual > MAX_LEARNED:
        expected = f"a network that needs at most {MAX_LEARNED // 10**6:,} MB for gradients"
        raise _beyond(where, expected, f"one of {actual // 10**6:,}")


def _beyond(where: object, expected: str, found: str) -> InputError:
    remedy = "The limits are constants of ytf_torch/network/budget.py"
    return mismatch(where, expected, found, remedy)
