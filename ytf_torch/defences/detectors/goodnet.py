"""GoodNet: the backdoored network and its pruned copy, and a class for when they disagree."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ytf_torch.defences.base import Candidate
from ytf_torch.metrics import disagree
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import are_finite, classes_of


def goodnet_answer(badnet: Tensor, pruned: Tensor, backdoored: int) -> Tensor:
    """Where both predictions agree that class, elsewhere the class `backdoored`. Any shape."""
    return badnet.masked_fill(disagree(badnet, pruned), backdoored)


class Disagreement:
    """GoodNet made gradual: how far the repaired copy's logit of the class that B answers lies
    below its largest other one. It is above 0 where both answer different classes, as GoodNet asks;
    other thresholds flag more faces or fewer."""

    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """See Detector. Raises ValueError without a candidate."""
        if candidate is None:
            raise ValueError("GoodNet compares with a repaired network: expected a candidate")
        answers = network(pixels)
        chosen = answers.argmax(1, keepdim=True)
        logits: Tensor = candidate.network(pixels)
        own = logits.gather(1, chosen)[:, 0]
        below = logits.scatter(1, chosen, -torch.inf).amax(1) - own
        return below.where(are_finite(answers) & are_finite(logits), torch.nan)


class GoodNet(nn.Module):
    """G of CSAW-2020: B and B′ agree → their class; they differ, or the logits of one are not
    finite → class N, "backdoored".

    badnet, pruned: B and B′, with the same N classes and input size.

    >>> goodnet = GoodNet(network, ytf_torch.bake_mask(network, "conv_3", [2, 4]))
    >>> goodnet(pixels).shape, goodnet.backdoored
    (torch.Size([24, 8]), 7)
    """

    def __init__(self, badnet: Network, pruned: Network) -> None:
        super().__init__()
        if (badnet.classes, badnet.input_shape) != (pruned.classes, pruned.input_shape):
            raise ValueError("B and B′ do not have the same classes and input size")
        self.badnet = badnet
        self.pruned = pruned

    @property
    def backdoored(self) -> int:
        """N, the class that says "backdoored"."""
        return self.badnet.classes

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, 3, height, width), pixel values 0–255 → scores (batch, N+1).

        The argmax of a row is G's answer. Where B and B′ agree the row is B's logits with −inf
        for class N; where they differ it is 0 for class N and −inf for every other. A softmax
        over it is a distribution in both cases.
        """
        logits: Tensor = self.badnet(pixels)
        repaired = classes_of(self.pruned(pixels)).unsqueeze(1)
        flagged = disagree(classes_of(logits).unsqueeze(1), repaired)
        people = logits.masked_fill(flagged, -torch.inf)
        nobody = torch.where(flagged, 0.0, -torch.inf).to(logits.dtype)
        return torch.cat([people, nobody], dim=1)
