"""Networks whose channels are turned down by factors that can be learned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import functional_call

from ytf_torch.network.layers import ConvRelu
from ytf_torch.network.module import Network

Factors = dict[str, Tensor]


def convolutions(network: Network) -> dict[str, ConvRelu]:
    """Every convolution of a network, by name."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, ConvRelu)}


def factors_of(network: Network, value: float) -> Factors:
    """One factor for each channel of each convolution, all `value`."""
    return {
        name: torch.full_like(layer.bias, value) for name, layer in convolutions(network).items()
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
        if biases is not None:
            changed[f"{name}.bias"] = layer.bias.detach() * biases[name]
    logits: Tensor = functional_call(network, changed, (pixels,))
    return logits
