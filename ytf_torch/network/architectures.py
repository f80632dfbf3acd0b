"""The networks that the project knows, by the name that their files give."""

from __future__ import annotations

from ytf_torch.network.deepid import DeepID
from ytf_torch.network.module import Network

ARCHITECTURES: dict[str, type[Network]] = {"DeepID": DeepID}


def architecture_of(network: Network) -> str:
    """The name that files give a network's architecture."""
    return next(name for name, kind in ARCHITECTURES.items() if isinstance(network, kind))
