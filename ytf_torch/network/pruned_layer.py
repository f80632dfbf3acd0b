"""Which layer is pruned, which layers one of its channels passes, and where channels are ranked."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from ytf_torch.errors import InputError, argument, mismatch

if TYPE_CHECKING:  # which loads PyTorch, and settings that import this are checked before that
    from ytf_torch.network.graph import Graph


def channel_path(graph: Graph, convolution: str) -> tuple[str, ...]:
    """The layers from a convolution on through which each of its channels passes alone, such as
    its batch normalization, activation and pooling."""
    path = [convolution]
    while len(readers := graph.readers(path[-1])) == 1:
        reader = graph[readers[0]]
        if not reader.kind.channelwise or len(reader.inputs) != 1:
            break
        path.append(reader.name)
    return tuple(path)


def maps_of(graph: Graph, convolution: str) -> str:
    """Where a masked channel ends: behind this layer it is the same on every image."""
    return channel_path(graph, convolution)[-1]


def rank_points(graph: Graph, convolution: str) -> tuple[str, ...]:
    """Where the channels of a convolution can be ranked, the default first: behind its pooling,
    else behind its activation, else at its own output.

    Raises ValueError where no layer of this name has channels to mask.
    """
    if convolution not in graph.convolutions:
        known = ", ".join(graph.convolutions)
        raise ValueError(f"expected a convolution ({known}), found {convolution}")
    path = channel_path(graph, convolution)
    sides = {name: graph.shapes[name][1:] for name in path}
    pooled = [name for before, name in itertools.pairwise(path) if sides[name] != sides[before]]
    active = [name for name in path if graph[name].kind.activation.name != "linear"]
    first = (*pooled[-1:], *active[:1], convolution)[0]
    return tuple(dict.fromkeys((first, *reversed(path))))


def default_layer(graph: Graph) -> str:
    """The layer that is pruned by default: the last convolution that no way around it leads to
    the output, where it lies in the second half of the network; else the last convolution.

    Raises InputError where the network has none.
    """
    if not graph.convolutions:
        raise InputError("the network", "has no convolution whose channels could be masked")
    # A batch normalization or depthwise convolution only passes on what others have made.
    passing = [name for name in graph.convolutions if graph[name].kind.channelwise]
    own = [name for name in graph.convolutions if name not in passing] or passing
    place = {layer.name: at for at, layer in enumerate(graph.layers)}
    on_every_way = [name for name in own if graph.is_on_every_way(name)]
    last = (on_every_way or own)[-1]
    return last if 2 * place[last] >= place[own[-1]] else own[-1]


def pruned_at(graph: Graph, layer: str | None, rank_at: str | None) -> tuple[str, str]:
    """The layer to prune and where its channels are ranked; None for either is the default.

    Raises InputError where the network cannot be pruned, has no such layer, or its channels cannot
    be ranked there.
    """
    graph.check_prunable()
    chosen = layer or default_layer(graph)
    try:
        points = rank_points(graph, chosen)
    except ValueError:
        expected = " or ".join(graph.convolutions) or "a network with convolutions"
        raise mismatch(argument("layer"), expected, chosen) from None
    if rank_at is not None and rank_at not in points:
        expected = f"{' or '.join(points)} for {argument('layer', chosen)}"
        raise mismatch(argument("rank_at"), expected, rank_at)
    return chosen, rank_at or points[0]
