"""The networks that the project knows, by the name that their files give."""

from __future__ import annotations

from ytf_torch.network.deepid import DeepID
from ytf_torch.network.module import Network

ARCHITECTURES: dict[str, type[Network]] = {"DeepID": DeepID}


def known_convolutions() -> tuple[str, ...]:
    """The convolutions of all networks that the project knows."""
    names = (name for kind in ARCHITECTURES.values() for name in kind.graph.convolutions)
    return tuple(dict.fromkeys(names))


def known_rank_points(convolution: str) -> tuple[str, ...]:
    """Where the channels of a convolution can be ranked in any network that the project knows."""
    graphs = (kind.graph for kind in ARCHITECTURES.values())
    found = (
        graph.rank_points(convolution) for graph in graphs if convolution in graph.convolutions
    )
    return tuple(dict.fromkeys(point for points in found for point in points))
