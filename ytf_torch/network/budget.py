"""How much memory and time a network would take, worked out before anything is allocated.

A file of a megabyte can hold a network whose feature maps take gigabytes, or whose sweep never
ends: large images, many channels or many people make it so, and the file need not be large for
that. Each limit below is well above what three networks take, and what they take is given beside
it: the lab's (55×47 pixels, 40 people), one with four times its channels and units, and the lab's
on faces of 128×128 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.fork import Fork, fork_of
from ytf_torch.network.graph import Graph
from ytf_torch.network.pruned_layer import default_layer, maps_of

# As many faces as are computed at once, see images/batches.py.
BATCH = 32
# Bytes of the values that are in memory at once: 51, 236 and 340 MB for the three networks in
# float64, half as many in float32.
MAX_MEMORY = 448_000_000
# Multiply-adds for one face: 8, 102 and 65 million.
MAX_MULTIPLY_ADDS = 500_000_000
# Multiply-adds for one face in a sweep that runs everything behind the masked layer again after
# each channel, with the time for moving values counted as multiply-adds: 0.2, 8.3 and 1.4 billion.
MAX_SWEPT = 12_000_000_000
# Values that the fast sweep prepares so that it need not run those layers again: 1, 22 and 161
# million. With more than this, as the third network has, it runs them again after all.
MAX_CONTRIBUTIONS = 24_000_000
# What a sweep of the layer that is pruned by default may take in that case: 0.6 billion for the
# third network.
MAX_SWEPT_AGAIN = 1_000_000_000
# Reading or writing one value takes about as long as this many multiply-adds.
MOVING = 20
# The widest layers of well-known networks have 2,048 channels, the largest public set of faces has
# 100,000 people.
MAX_CHANNELS = 2_048
MAX_CLASSES = 100_000
# As many faces as methods that learn compute at once: FT-SAM does, and Neural Cleanse with 8
# classes of 16 faces.
LEARNED = 128
# Bytes that gradients for so many faces need: 94, 377 and 740 million for the three networks, in
# float32. All that is loaded before takes as much as the third again, so it is refused.
MAX_LEARNED = 550_000_000

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Cost:
    """What a network takes.

    values: in memory at once, for a batch of BATCH faces and two copies of the weights.
    multiply_adds: for one face. contributions: see `contributions`; 0 without a fork.
    """

    values: int
    multiply_adds: int
    contributions: int


def cost_of(graph: Graph) -> Cost:
    """The cost of a network, from its graph alone."""
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
    """Multiply-adds for one face while the channels of a layer are masked one by one, and all that
    follows it is run again after each."""
    names = [each.name for each in graph.layers]
    moved = _moved(graph)
    later = names[names.index(layer) + 1 :]
    return graph.shapes[layer][0] * sum(_work(graph, name) + MOVING * moved[name] for name in later)


def _moved(graph: Graph) -> dict[str, int]:
    """How many values each layer reads and writes for one face."""
    return {
        layer.name: sum(map(math.prod, (graph.shapes[layer.name], *graph.input_shapes(layer.name))))
        for layer in graph.layers
    }


def contributions(fork: Fork, outputs: Shapes) -> int:
    """How many values say what each one of the fork's maps adds to everything that it enters."""
    entered = math.prod(outputs[fork.direct]) + math.prod(outputs[fork.convolution])
    return math.prod(outputs[fork.maps]) * entered


def check_budget(where: object, graph: Graph, value_bytes: int = 8) -> None:
    """Raises InputError where a network would take more than the limits above. where: what to name
    in the error. value_bytes: of each value."""
    for name in graph.weighted:
        classes = name == graph.output
        limit, unit = (MAX_CLASSES, "classes") if classes else (MAX_CHANNELS, "channels")
        channels = graph.shapes[name][0]
        if (classes or len(graph.shapes[name]) == 3) and channels > limit:
            raise _beyond(f"{where}, {name}", f"at most {limit:,} {unit}", f"{channels:,}")
    cost = cost_of(graph)
    for most, found, words in (
        (MAX_MEMORY, value_bytes * cost.values, f"MB of memory for {BATCH} faces"),
        (MAX_MULTIPLY_ADDS, cost.multiply_adds, "million multiply-adds for a face"),
    ):
        if found > most:
            expected = f"a network that takes at most {most // 10**6:,} {words}"
            raise _beyond(where, expected, f"one of {found // 10**6:,}")
    if graph.convolutions:
        check_swept(where, graph, default_layer(graph))


def check_swept(where: object, graph: Graph, layer: str) -> None:
    """Raises InputError where a sweep of a layer's channels would take more than the limits
    above."""
    found, most = swept(graph, layer), MAX_SWEPT
    fork = fork_of(graph)
    if fork is not None and maps_of(graph, layer) == fork.maps:
        if contributions(fork, graph.shapes) <= MAX_CONTRIBUTIONS:
            return
        most = MAX_SWEPT_AGAIN
    if found > most:
        words = "million multiply-adds for a face in a sweep"
        expected = f"a network that takes at most {most // 10**6:,} {words} of {layer}"
        raise _beyond(where, expected, f"one of {found // 10**6:,}")


def check_learned(where: object, graph: Graph, value_bytes: int) -> None:
    """Raises InputError where gradients for LEARNED faces would take more than MAX_LEARNED bytes:
    every layer's output is there until they are worked out.

    where: what to name in the error. value_bytes: of each value.
    """
    found = LEARNED * sum(_moved(graph).values()) * value_bytes
    if found > MAX_LEARNED:
        expected = f"a network that takes at most {MAX_LEARNED // 10**6:,} MB to learn from"
        raise _beyond(where, expected, f"one of {found // 10**6:,}")


def _beyond(where: object, expected: str, found: str) -> InputError:
    remedy = "The limits are constants of ytf_torch/network/budget.py"
    return mismatch(where, expected, found, remedy)
