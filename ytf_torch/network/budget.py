"""What a network's sizes let it ask for, told before anything is allocated.

A small file can hold a network whose feature maps, columns or contributions take gigabytes, or
whose sweep never ends: nothing in a file of a megabyte says so but the sizes themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ytf_torch.errors import InputError, mismatch
from ytf_torch.network.graph import Graph

# As many faces as are computed at once, see faces/batches.py.
BATCH = 32
# Values in memory at once, of at most 8 bytes each: the lab's network comes to 6 million, one with
# four times its channels and units to 29 million, the lab's on faces of 128×128 to 42 million.
MAX_VALUES = 56_000_000
# Multiply-adds for one face: 8, 102 and 65 million for these three networks.
MAX_MULTIPLY_ADDS = 500_000_000
# Of one face in a sweep that runs what follows a layer again after each of its channels: 0.1, 7.4
# and 1.0 billion.
MAX_SWEPT = 10_000_000_000
# The widest layers of well-known face networks have 512 channels, the largest public set of faces
# has 100,000 people.
MAX_CHANNELS = 1_024
MAX_CLASSES = 100_000

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Cost:
    """What a network takes.

    values: in memory at once, for a batch of BATCH faces and two copies of the weights.
    multiply_adds: for one face. swept: multiply-adds for one face while the
    channels of the costliest convolution are masked one by one.
    """

    values: int
    multiply_adds: int
    swept: int


def cost_of(graph: Graph, outputs: Shapes, parameters: Shapes) -> Cost:
    """The cost of a network.

    outputs: layer → shape of its output for one face. parameters: name → shape, as in a state_dict.
    """
    weights = {name: parameters[f"{name}.weight"] for name in graph.weighted}
    work = {
        name: math.prod(shape) * math.prod(outputs[name][1:]) for name, shape in weights.items()
    }
    # A layer reads its input and writes its output; a convolution may first lay out the values
    # under its kernel at every place, which PyTorch does in float64.
    columns = {
        name: math.prod(shape[1:]) * math.prod(outputs[name][1:])
        for name, shape in weights.items()
        if name in graph.convolutions
    }
    at_once = max(
        math.prod(outputs[layer.name])
        + sum(math.prod(outputs[source]) for source in layer.inputs)
        + columns.get(layer.name, 0)
        for layer in graph.layers
    )
    stored = sum(map(math.prod, parameters.values()))
    return Cost(
        values=BATCH * at_once + 2 * stored,
        multiply_adds=sum(work.values()),
        swept=max(
            outputs[name][0] * sum(work[later] for later in graph.weighted[place + 1 :])
            for place, name in enumerate(graph.weighted)
            if name in graph.convolutions
        ),
    )


def check_budget(where: object, graph: Graph, outputs: Shapes, parameters: Shapes) -> None:
    """Raises InputError where a network would take more than the limits above. Arguments as of
    `cost_of`; where: what to name in the error."""
    for name in graph.weighted:
        classes = name == graph.output
        limit, unit = (MAX_CLASSES, "classes") if classes else (MAX_CHANNELS, "channels")
        if (classes or name in graph.convolutions) and outputs[name][0] > limit:
            raise _beyond(f"{where}, {name}", f"at most {limit:,} {unit}", f"{outputs[name][0]:,}")
    cost = cost_of(graph, outputs, parameters)
    for most, found, words in (
        (8 * MAX_VALUES, 8 * cost.values, f"MB of memory for {BATCH} faces"),
        (MAX_MULTIPLY_ADDS, cost.multiply_adds, "million multiply-adds for a face"),
        (MAX_SWEPT, cost.swept, "million multiply-adds for a face in a sweep"),
    ):
        if found > most:
            expected = f"a network that takes at most {most // 10**6:,} {words}"
            raise _beyond(where, expected, f"one of {found // 10**6:,}")


def _beyond(where: object, expected: str, found: str) -> InputError:
    remedy = "The limits are constants of ytf_torch/network/budget.py"
    return mismatch(where, expected, found, remedy)
