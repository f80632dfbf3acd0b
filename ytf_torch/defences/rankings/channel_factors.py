"""Networks whose channels are turned down by factors that can be learned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from ytf_torch.errors import CannotRepairError
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import channel_path

Factors = dict[str, Tensor]


def masked_at(network: Network) -> dict[str, str]:
    """Layer whose channels can be masked → the layer whose weights turn them down: its own, or
    those of the last batch normalization that each channel passes alone, as the sources of ANP and
    RNP do.

    A convolution whose channels no weights can turn down is left out.
    """
    graph = network.graph
    places: dict[str, str] = {}
    for name in graph.convolutions:
        if name in places:
            continue
        path = [other for other in channel_path(graph, name) if other in graph.convolutions]
        able = [other for other in path if _can_be_multiplied(network, other)]
        places |= dict.fromkeys(path, able[-1]) if able else {}
    return places


def _can_be_multiplied(network: Network, layer: str) -> bool:
    ones = _ones(network, layer)
    return network.graph[layer].kind.multiplied(network.weights_of(layer), ones, None) is not None


def _ones(network: Network, layer: str) -> Tensor:
    """A factor of 1 for each channel of a layer."""
    channels = network.output_shape(layer)[0]
    return torch.ones(channels, dtype=network.dtype, device=network.device)


def with_factors(
    network: Network,
    pixels: Tensor,
    kernels: Mapping[str, Tensor],
    biases: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Logits (batch, classes) where each channel's kernel is multiplied by its factor.

    kernels, biases: (channels,) by name of the layer. biases: None leaves them as they are.
    """
    changed: dict[str, Tensor] = {}
    for name, factors in kernels.items():
        kind, weights = network.graph[name].kind, network.weights_of(name)
        found = kind.multiplied(weights, factors, None if biases is None else biases[name])
        changed |= {f"{name}.{part}": tensor for part, tensor in (found or {}).items()}
    logits: Tensor = functional_call(network, changed, (pixels,))
    return logits


class LearnedMasks:
    """A mask of 0–1 for each channel of a network's convolutions, 1 at first, learned step by step.

    factors: the masks, for `with_factors`.
    """

    def __init__(self, network: Network, layer: str, learning_rate: float, momentum: float) -> None:
        """layer: whose channels are ranked. Raises CannotRepairError where no weights turn its
        channels down."""
        places = masked_at(network)
        if layer not in places:
            problem = f"no weights of {layer} turn its channels down, so no mask can be learned"
            raise CannotRepairError("the network", problem, "Choose a method that learns no masks")
        self.layer = places[layer]
        layers = dict.fromkeys(places.values())
        self.factors = {name: _ones(network, name).requires_grad_() for name in layers}
        self.optimizer = torch.optim.SGD(self.factors.values(), lr=learning_rate, momentum=momentum)

    def learn(self, loss: Tensor) -> None:
        """One step down a loss that depends on the masks; what leaves 0–1 is put back."""
        self.optimizer.zero_grad()
        torch.autograd.backward(loss, inputs=list(self.factors.values()))
        self.optimizer.step()
        with torch.no_grad():
            for mask in self.factors.values():
                mask.clamp_(0, 1)

    def scores(self) -> list[float]:
        """The masks of the ranked layer's channels, as a ranking gives them."""
        scores: list[float] = self.factors[self.layer].tolist()
        return scores
