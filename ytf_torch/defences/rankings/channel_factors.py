"""Learnable factors that scale the channels of a network, such as masks."""

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
    """For each layer whose channels can be masked: the layer whose weights the masks multiply.

    That is the last batch normalization on the channels' path if there is one, as in the code of
    ANP and RNP, else the layer itself. Convolutions without such weights are left out.
    """
    graph = network.graph
    scaling_layers: dict[str, str] = {}
    for name in graph.convolutions:
        if name in scaling_layers:
            continue
        path = [other for other in channel_path(graph, name) if other in graph.convolutions]
        able = [other for other in path if _can_be_multiplied(network, other)]
        scaling_layers |= dict.fromkeys(path, able[-1]) if able else {}
    return scaling_layers


def _can_be_multiplied(network: Network, layer: str) -> bool:
    ones = _ones(network, layer)
    return network.graph[layer].kind.multiplied(network.weights_of(layer), ones, None) is not None


def _ones(network: Network, layer: str) -> Tensor:
    """(channels,): a factor of 1 for each channel of a layer."""
    channels = network.output_shape(layer)[0]
    return torch.ones(channels, dtype=network.dtype, device=network.device)


def with_factors(
    network: Network,
    pixels: Tensor,
    kernels: Mapping[str, Tensor],
    biases: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Logits (batch, classes) of the network with scaled channels; differentiable by the factors.

    kernels, biases: by layer, the factors (channels,) of each channel's kernel and bias; with
    biases None the biases are not scaled.
    """
    # functional_call, as assigning to parameters would cut the gradient to the factors.
    changed: dict[str, Tensor] = {}
    for name, factors in kernels.items():
        kind, weights = network.graph[name].kind, network.weights_of(name)
        scaled = kind.multiplied(weights, factors, None if biases is None else biases[name])
        changed |= {f"{name}.{part}": tensor for part, tensor in (scaled or {}).items()}
    logits: Tensor = functional_call(network, changed, (pixels,))
    return logits


class LearnedMasks:
    """Masks in [0, 1] for the channels of all convolutions of a network, trained by SGD from 1.

    factors: by layer, the masks (channels,), for `with_factors`.
    """

    def __init__(self, network: Network, layer: str, learning_rate: float, momentum: float) -> None:
        """layer: the one to rank. Raises CannotRepairError if no weights scale its channels."""
        scaling_layers = masked_at(network)
        if layer not in scaling_layers:
            problem = f"no weights scale the channels of {layer}, so no mask can be learned"
            raise CannotRepairError("the network", problem, "Choose a method that learns no masks")
        self.layer = scaling_layers[layer]
        layers = dict.fromkeys(scaling_layers.values())
        self.factors = {name: _ones(network, name).requires_grad_() for name in layers}
        self.optimizer = torch.optim.SGD(self.factors.values(), lr=learning_rate, momentum=momentum)

    def learn(self, loss: Tensor) -> None:
        """One SGD step on a loss that depends on the masks, which are then clamped to [0, 1]."""
        self.optimizer.zero_grad()
        torch.autograd.backward(loss, inputs=list(self.factors.values()))
        self.optimizer.step()
        with torch.no_grad():
            for mask in self.factors.values():
                mask.clamp_(0, 1)

    def scores(self) -> list[float]:
        """The masks of the ranked layer's channels, as `Ranking.scores` returns them."""
        scores: list[float] = self.factors[self.layer].tolist()
        return scores
