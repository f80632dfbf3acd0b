"""GoodNet: predicts an extra class, "backdoored", where B and its pruned copy disagree."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ytf_torch.defences.base import Candidate
from ytf_torch.metrics import disagree
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import are_finite, classes_of


def goodnet_answer(badnet: Tensor, pruned: Tensor, backdoored: int) -> Tensor:
    """The predicted class where both networks agree, else the class `backdoored`. Any shape."""
    return badnet.masked_fill(disagree(badnet, pruned), backdoored)


class Disagreement:
    """GoodNet's rule with a threshold: for the repaired copy's logits r and y = argmax B,

        score = max over c ≠ y of r[c] − r[y]

    which, exact ties aside, is above 0 where B and the copy predict different classes. Threshold 0
    is GoodNet; others flag more or fewer images.
    """

    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """See `Detector.scores`. Raises ValueError if `candidate` is None."""
        if candidate is None:
            raise ValueError("GoodNet compares with a repaired network: expected a candidate")
        logits = network(pixels)
        predicted = logits.argmax(1, keepdim=True)
        repaired_logits: Tensor = candidate.network(pixels)
        same_class = repaired_logits.gather(1, predicted)[:, 0]
        margin = repaired_logits.scatter(1, predicted, -torch.inf).amax(1) - same_class
        return margin.where(are_finite(logits) & are_finite(repaired_logits), torch.nan)


class GoodNet(nn.Module):
    """G of CSAW-2020: the class that B and B′ agree on, else class N, "backdoored".

    Logits that are not finite count as disagreement.

    badnet, pruned: B and B′, with the same N classes and input size. Raises ValueError if these
    differ.

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
        """N, the index of the class "backdoored"."""
        return self.badnet.classes

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, C, H, W), pixel values 0–255 → scores (batch, N+1); their argmax is G's answer.

        Where B and B′ agree, a row holds B's logits, and −inf for class N. Where they differ, it
        holds 0 for class N, and −inf for every other. The softmax of either is a distribution.
        """
        logits: Tensor = self.badnet(pixels)
        repaired = classes_of(self.pruned(pixels)).unsqueeze(1)
        flagged = disagree(classes_of(logits).unsqueeze(1), repaired)
        classes = logits.masked_fill(flagged, -torch.inf)
        backdoored = torch.where(flagged, 0.0, -torch.inf).to(logits.dtype)
        return torch.cat([classes, backdoored], dim=1)
