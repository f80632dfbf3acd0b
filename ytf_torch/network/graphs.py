"""The graphs of the networks that the project knows.

Data alone: a command checks its flags against them before PyTorch is loaded.
"""

from __future__ import annotations

from ytf_torch.network.graph import Graph, Layer

DEEPID = Graph(
    (
        Layer("input", "input"),
        Layer("conv_1", "convolution", ("input",)),
        Layer("pool_1", "pool", ("conv_1",)),
        Layer("conv_2", "convolution", ("pool_1",)),
        Layer("pool_2", "pool", ("conv_2",)),
        Layer("conv_3", "convolution", ("pool_2",)),
        Layer("pool_3", "pool", ("conv_3",)),
        Layer("flatten_1", "flatten", ("pool_3",)),
        Layer("fc_1", "dense", ("flatten_1",)),
        Layer("conv_4", "convolution", ("pool_3",)),
        Layer("flatten_2", "flatten", ("conv_4",)),
        Layer("fc_2", "dense", ("flatten_2",)),
        Layer("add_1", "add", ("fc_1", "fc_2")),
        Layer("activation_1", "relu", ("add_1",)),
        Layer("output", "dense", ("activation_1",)),
    )
)
GRAPHS = {"DeepID": DEEPID}


def known_convolutions() -> tuple[str, ...]:
    """The convolutions of all networks that the project knows."""
    names = (name for graph in GRAPHS.values() for name in graph.convolutions)
    return tuple(dict.fromkeys(names))


def known_rank_points(convolution: str) -> tuple[str, ...]:
    """Where the channels of a convolution can be ranked in any network that the project knows."""
    found = (
        graph.rank_points(convolution)
        for graph in GRAPHS.values()
        if convolution in graph.convolutions
    )
    return tuple(dict.fromkeys(point for points in found for point in points))
