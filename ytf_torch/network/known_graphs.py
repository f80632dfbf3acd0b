"""The graphs of the networks that the project knows.

Data alone: a command checks its flags against them before PyTorch is loaded.
"""

from __future__ import annotations

from ytf_torch.network.deepid_graph import DEEPID

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
