"""The recommended detector: B is surer than of any clean face, its repaired copy is far less sure
of the same class, or the two are sure of different people."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ytf_torch.defences.base import Candidate
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import are_finite

# What counts as far out among clean faces: this share of them is below it.
FAR = 0.98
# What it counts that the copy prefers another class, beside being less sure of B's.
PREFERENCE = 0.5
# Contradiction reaches at least this share of what dissent reaches: two networks that agree on
# nearly all clean validation faces leave it none.
LEAST_REACH = 0.25


class EnergyAndDissent:
    """The largest of three suspicions, each in units of how far clean validation faces reach.

    Energy is the logarithm of the sum of exp(logit), which triggers that a network has learned
    well push beyond all clean faces. Dissent is how far the repaired copy's logit of the class that
    B answers lies below B's, and half of how far it lies below the copy's own largest, where the
    logits of each network are centred and brought to one standard deviation on clean faces. A faint
    trigger over the whole face raises no energy, but the copy does not follow it. Contradiction is
    the geometric mean of two distances: from B's largest logit to its logit of the class that the
    copy answers, and from the copy's largest to its logit of B's class. Where B errs by itself it
    is unsure, and the first is small; a trigger that leads each class to the next one raises
    neither energy nor the logit by much, but makes B sure of somebody else. The repaired copy must
    be one that knows nothing of the backdoor, such as the recommended repair's.

    Sources: Liu, Wang, Owens, Li, "Energy-based Out-of-distribution Detection" (NeurIPS 2020);
    disagreement with a repaired copy is GoodNet's idea (CSAW-2020), made gradual.
    """

    def __init__(self, clean_valid: ImageSet) -> None:
        self.faces = torch.cat([batch.pixels for batch in clean_valid.batches()])
        self._calibrated: tuple[Network, Network, Calibration] | None = None

    @torch.inference_mode()
    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """See Detector. The first faces of a network and a candidate take longer, as both are first
        run on the clean validation faces. Raises ValueError without a candidate."""
        if candidate is None:
            raise ValueError("dissent is that of a repaired network: expected a candidate")
        found = self._calibration(network, candidate.network)
        logits, others = network(pixels), candidate.network(pixels)
        suspicions = _suspicions(logits, others, found.spreads)
        scores = ((suspicions - found.middle) / found.reach).max(1).values
        return scores.where(are_finite(logits) & are_finite(others), torch.nan)

    def _calibration(self, network: Network, repaired: Network) -> Calibration:
        known = self._calibrated
        if known is None or known[0] is not network or known[1] is not repaired:
            logits = _logits(network, self.faces), _logits(repaired, self.faces)
            known = (network, repaired, _calibration(*logits))
            self._calibrated = known
        return known[2]


@dataclass(frozen=True)
class Calibration:
    """What clean validation faces are like.

    spreads: the standard deviations of both networks' centred logits. middle, reach: of energy,
    dissent and contradiction (3,), the median, and how far above it the farthest faces but a few
    lie.
    """

    spreads: tuple[Tensor, ...]
    middle: Tensor
    reach: Tensor


def _calibration(logits: Tensor, repaired: Tensor) -> Calibration:
    """Of those faces on which both networks are finite."""
    finite = are_finite(logits) & are_finite(repaired)
    if finite.any():
        logits, repaired = logits[finite], repaired[finite]
    # Networks that answer all faces alike have no spread to divide by.
    least = torch.finfo(logits.dtype).tiny
    spreads = tuple(_centred(found).std().clamp_min(least) for found in (logits, repaired))
    suspicions = _suspicions(logits, repaired, spreads)
    middle = suspicions.median(0).values
    # Logits that are all alike, as few faces may have, leave no reach to divide by.
    reach = (suspicions.quantile(FAR, 0) - middle).clamp_min(torch.finfo(middle.dtype).eps)
    reach[2] = torch.maximum(reach[2], LEAST_REACH * reach[1])
    return Calibration(spreads, middle, reach)


def _suspicions(logits: Tensor, repaired: Tensor, spreads: tuple[Tensor, ...]) -> Tensor:
    """Energy, dissent and contradiction, (batch, 3), of the logits (batch, classes) of B and its
    repaired copy."""
    own, answers = _centred(logits) / spreads[0], _centred(repaired) / spreads[1]
    (highest, chosen), (others_highest, others_chosen) = own.max(1), answers.max(1)
    others = answers.gather(1, chosen[:, None])[:, 0]
    preference = others_highest - others
    dissent = highest - others + PREFERENCE * preference
    own_preference = highest - own.gather(1, others_chosen[:, None])[:, 0]
    contradiction = (own_preference * preference).sqrt()
    return torch.stack([logits.logsumexp(1), dissent, contradiction], 1)


def _logits(network: Network, faces: Tensor) -> Tensor:
    parts = torch.split(faces, BATCH_SIZE)
    return torch.cat([network(part.to(network.device)) for part in parts])


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(1, keepdim=True)
