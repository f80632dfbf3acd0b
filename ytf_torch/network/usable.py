"""Whether a network answers anything at all: found from its logits on a few pictures, before
anything is computed with it."""

from __future__ import annotations

import torch

from ytf_torch.errors import InputError
from ytf_torch.network.likelier_scale import coarse_pictures
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import are_finite


def check_finite(network: Network, where: object) -> None:
    """Raises InputError where no picture of coarse random colours gets finite logits.

    where: what to name in the error.
    """
    _check_finite(_logits(network), where)


def _check_finite(logits: torch.Tensor, where: object) -> None:
    if not bool(are_finite(logits).any()):
        problem = "its logits are NaN or infinite on every picture: its weights overflow"
        raise InputError(where, problem, "Give the network as it was trained")


def check_tells_apart(network: Network, where: object) -> None:
    """Raises InputError where a network has no answers that a defence could look at: not finite, of
    one class, or the same whatever it is shown."""
    if network.classes < 2:
        problem = "it knows one class, so no face can be taken for somebody else"
        raise InputError(where, problem, "Give a network of two classes or more")
    logits = _logits(network)
    _check_finite(logits, where)
    if bool((logits == logits[0]).all()):
        problem = "it answers every picture alike, as where all weights are zero"
        raise InputError(where, problem, "Give the network as it was trained")


def _logits(network: Network) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = network(coarse_pictures(network.input_shape).to(network.device))
    return logits
