"""Networks whose channels are turned down by factors that can be learned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from ytf_torch.layers.conv2d import Convolution
from ytf_torch.network.module import Network

Factors = dict[str, Tensor]


def convolutions(network: Network) -> dict[str, Convolution]:
    """Every convolution of a network, by name."""
    return {
        name: layer for name, layer in network.named_modules() if isinstance(layer, Convolution)
    }


def factors_of(network: Network, value: float) -> Factors:
    """One factor for each channel of each convolution, all `value`."""
    return {
        name: layer.weight.new_full((layer.out_channels,), value)
        for name, layer in convolutions(network).items()
    }


def with_factors(
    network: Network,
    pixels: Tensor,
    kernels: Mapping[str, Tensor],
    biases: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Logits (batch, classes) where each channel's kernel is multiplied by its factor.

    kernels, biases: (channels,) by name of the convolution. biases: None leaves them as they are.
    """
    changed: dict[str, Tensor] = {}
    for name, layer in convolutions(network).items():
        changed[f"{name}.weight"] = layer.weight.detach() * kernels[name][:, None, None, None]
        if biases is not None and layer.bias is not None:
            changed[f"{name}.bias"] = layer.bias.detach() * biases[name]
    logits: Tensor = functional_call(network, changed, (pixels,))
    return logits


class LearnedMasks:
    """A mask of 0–1 for each channel of each convolution, 1 at first, learned step by step.

    factors: the masks, for `with_factors`.
    """

    def __init__(self, network: Network, learning_rate: float, momentum: float) -> None:
        self.factors = {
            name: mask.requires_grad_() for name, mask in factors_of(network, 1).items()
        }
        self.optimizer = torch.optim.SGD(self.factors.values(), lr=learning_rate, momentum=momentum)

    def learn(self, loss: Tensor) -> None:
        """One step down a loss that depends on the masks; what leaves 0–1 is put back."""
        self.optimizer.zero_grad()
        torch.autograd.backward(loss, inputs=list(self.factors.values()))
        self.optimizer.step()
        with torch.no_grad():
            for mask in self.factors.values():
                mask.clamp_(0, 1)

    def scores(self, layer: str) -> list[float]:
        """The masks of one layer's channels, as a ranking gives them."""
        scores: list[float] = self.factors[layer].tolist()
        return scores
