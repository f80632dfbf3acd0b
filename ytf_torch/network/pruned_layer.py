"""Which layer is pruned, how far its channels stay separate, and where they are ranked."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from ytf_torch.errors import InputError, argument, mismatch

if TYPE_CHECKING:  # which loads PyTorch, and settings that import this are checked before that
    from ytf_torch.network.graph import Graph


def channel_path(graph: Graph, convolution: str) -> tuple[str, ...]:
    """The convolution and the layers after it that process each channel separately, such as its
    batch normalization, activation and pooling."""
    path = [convolution]
    while len(readers := graph.readers(path[-1])) == 1:
        reader = graph[readers[0]]
        if not reader.kind.channelwise or len(reader.inputs) != 1:
            break
        path.append(reader.name)
    return tuple(path)


def maps_of(graph: Graph, convolution: str) -> str:
    """The last layer in which a channel of the convolution is still a separate channel; the output
    of a masked channel there does not depend on the image."""
    return channel_path(graph, convolution)[-1]


def rank_points(graph: Graph, convolution: str) -> tuple[str, ...]:
    """The layers at whose output the channels of a convolution can be ranked, the default first:
    its pooling, else its activation, else the convolution itself.

    Raises ValueError where the layer has no channels that can be masked.
    """
    if convolution not in graph.convolutions:
        names = ", ".join(graph.convolutions)
        raise ValueError(f"expected a convolution ({names}), found {convolution}")
    path = channel_path(graph, convolution)
    # Whatever changes the height or width on this path is counted as pooling.
    sizes = {name: graph.shapes[name][1:] for name in path}
    pooled = [name for before, name in itertools.pairwise(path) if sizes[name] != sizes[before]]
    active = [name for name in path if graph[name].kind.activation.name != "linear"]
    default = (*pooled[-1:], *active[:1], convolution)[0]
    return tuple(dict.fromkeys((default, *reversed(path))))


def default_layer(graph: Graph) -> str:
    """The layer that is pruned by default: the last convolution that lies on every path from input
    to output, if it is in the second half of the layers up to the last convolution; else the
    latter.

    Raises InputError where the network has no convolution.
    """
    if not graph.convolutions:
        raise InputError("the network", "has no convolution whose channels could be masked")
    # Prefer layers that mix channels: a batch normalization or depthwise convolution only
    # transforms channels that an earlier layer computed.
    channelwise = [name for name in graph.convolutions if graph[name].kind.channelwise]
    candidates = [name for name in graph.convolutions if name not in channelwise] or channelwise
    position = {layer.name: index for index, layer in enumerate(graph.layers)}
    on_every_path = [name for name in candidates if graph.is_on_every_way(name)]
    last = (on_every_path or candidates)[-1]
    return last if 2 * position[last] >= position[candidates[-1]] else candidates[-1]


def pruned_at(graph: Graph, layer: str | None, rank_at: str | None) -> tuple[str, str]:
    """The layer to prune and the layer at which its channels are ranked; None stands for the
    default.

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
