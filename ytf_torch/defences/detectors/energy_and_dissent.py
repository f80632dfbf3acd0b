"""The recommended detector: the largest of three scores from the logits of B and of its repaired
copy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ytf_torch.defences.base import Candidate
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.predicted_class import are_finite

# Quantile of the clean validation images' scores that is scaled to 1.
CLEAN_QUANTILE = 0.98
# Weight of r[z] − r[y] in dissent.
PREFERENCE_WEIGHT = 0.5
# Lower bound for the scale of contradiction, as a share of dissent's. Two networks that agree on
# nearly all clean validation images leave contradiction at 0 there, and a scale of 0.
MIN_CONTRADICTION_SCALE = 0.25


class EnergyAndDissent:
    """The largest of energy, dissent and contradiction, each scaled on clean validation images.

    Let b and r be the logits of B and of its repaired copy, centred for each image and divided by
    their standard deviation over the clean validation images, y = argmax b and z = argmax r.

        energy        = log Σ exp(B's logits), not standardised
        dissent       = b[y] − r[y] + ½ (r[z] − r[y])
        contradiction = √((b[y] − b[z]) (r[z] − r[y]))
        score         = max of (value − median) / (98 % quantile − median) over the three,
                        median and quantile of the clean validation images

    - Energy detects triggers that B has learned well: they push it beyond that of clean images.
    - Dissent detects faint triggers over the whole image. They do not raise the energy, but the
      repaired copy does not follow B.
    - Contradiction detects all-to-all triggers. They raise neither energy nor b[y] by much, but
      make B confident of another class than the copy. Where B errs without a trigger it is not
      confident, and b[y] − b[z] is small.

    The repaired copy must be free of the backdoor, such as that of the recommended repair. No way
    was found to tell from these terms on clean images, on which they are calibrated: of three
    copies with 45 to 100 % of the attack left, the median dissent there was 0 within 0.1.

    Sources: Liu, Wang, Owens, Li, "Energy-based Out-of-distribution Detection" (NeurIPS 2020);
    dissent makes GoodNet's disagreement (CSAW-2020) continuous.
    """

    def __init__(self, clean_valid: ImageSet) -> None:
        self.images = torch.cat([batch.pixels for batch in clean_valid.batches()])
        self._calibrated: tuple[Network, Network, Calibration] | None = None

    @torch.inference_mode()
    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """See `Detector.scores`. Raises ValueError if `candidate` is None.

        The first call for a network and a candidate also runs both on all clean validation images.
        """
        if candidate is None:
            raise ValueError("dissent compares with a repaired network: expected a candidate")
        calibration = self._calibration(network, candidate.network)
        logits, repaired_logits = network(pixels), candidate.network(pixels)
        values = _suspicions(logits, repaired_logits, calibration.deviations)
        scores = ((values - calibration.median) / calibration.scale).max(1).values
        return scores.where(are_finite(logits) & are_finite(repaired_logits), torch.nan)

    def _calibration(self, network: Network, repaired: Network) -> Calibration:
        # Cached for the last pair of networks, as `scores` is called once for each batch.
        cached = self._calibrated
        if cached is None or cached[0] is not network or cached[1] is not repaired:
            logits = _logits(network, self.images), _logits(repaired, self.images)
            cached = (network, repaired, _calibration(*logits))
            self._calibrated = cached
        return cached[2]


@dataclass(frozen=True)
class Calibration:
    """Statistics of the clean validation images.

    deviations: the standard deviations of the centred logits of B and of its repaired copy.
    median, scale: (3,), of energy, dissent and contradiction; scale = CLEAN_QUANTILE − median.
    """

    deviations: tuple[Tensor, ...]
    median: Tensor
    scale: Tensor


def _calibration(logits: Tensor, repaired: Tensor) -> Calibration:
    """The statistics over the images for which the logits of both networks are finite; logits:
    (images, classes)."""
    finite = are_finite(logits) & are_finite(repaired)
    if finite.any():
        logits, repaired = logits[finite], repaired[finite]
    # Constant logits have a standard deviation of 0, by which they would be divided.
    smallest = torch.finfo(logits.dtype).tiny
    deviations = tuple(_centred(each).std().clamp_min(smallest) for each in (logits, repaired))
    values = _suspicions(logits, repaired, deviations)
    median = values.median(0).values
    # Few images, or images with equal logits, can make quantile and median equal.
    scale = (values.quantile(CLEAN_QUANTILE, 0) - median).clamp_min(torch.finfo(median.dtype).eps)
    scale[2] = torch.maximum(scale[2], MIN_CONTRADICTION_SCALE * scale[1])
    return Calibration(deviations, median, scale)


def _suspicions(logits: Tensor, repaired: Tensor, deviations: tuple[Tensor, ...]) -> Tensor:
    """Energy, dissent and contradiction, (batch, 3), of the logits (batch, classes) of B and its
    repaired copy. Names as in the formulas of EnergyAndDissent."""
    b, r = _centred(logits) / deviations[0], _centred(repaired) / deviations[1]
    (b_y, y), (r_z, z) = b.max(1), r.max(1)
    r_y = r.gather(1, y[:, None])[:, 0]
    r_preference = r_z - r_y
    dissent = b_y - r_y + PREFERENCE_WEIGHT * r_preference
    b_preference = b_y - b.gather(1, z[:, None])[:, 0]
    contradiction = (b_preference * r_preference).sqrt()
    return torch.stack([logits.logsumexp(1), dissent, contradiction], 1)


def _logits(network: Network, images: Tensor) -> Tensor:
    parts = torch.split(images, BATCH_SIZE)
    return torch.cat([network(part.to(network.device)) for part in parts])


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(1, keepdim=True)
