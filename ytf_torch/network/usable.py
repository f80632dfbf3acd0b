"""Checks, from the logits on a few random images, that a network can be analysed at all."""

from __future__ import annotations

import torch

from ytf_torch.errors import InputError
from ytf_torch.network.likelier_scale import coarse_images
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import are_finite


def check_finite(network: Network, where: object) -> None:
    """Raises InputError where the network gives no image of coarse random colours finite logits.

    where: what to name in the error.
    """
    _check_finite(_logits(network), where)


def _check_finite(logits: torch.Tensor, where: object) -> None:
    if not bool(are_finite(logits).any()):
        problem = "its logits are NaN or infinite on every image: its weights overflow"
        raise InputError(where, problem, "Give the network as it was trained")


def check_tells_apart(network: Network, where: object) -> None:
    """Raises InputError where no defence can work on a network: it has one class, or its logits are
    not finite or do not depend on the image. where: what to name in the error."""
    if network.classes < 2:
        problem = "it has one class, so no image can be misclassified"
        raise InputError(where, problem, "Give a network of two classes or more")
    logits = _logits(network)
    _check_finite(logits, where)
    if bool((logits == logits[0]).all()):
        problem = "it answers every image alike, as where all weights are zero"
        raise InputError(where, problem, "Give the network as it was trained")


def _logits(network: Network) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = network(coarse_images(network.input_shape).to(network.device))
    return logits
