"""A detector with the score above which it flags a face, set on clean validation faces."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ytf_torch.defences.base import Candidate, Detector
from ytf_torch.defences.detectors.threshold import share_above, threshold_for
from ytf_torch.device import exact_float32
from ytf_torch.distributed import gathered, together
from ytf_torch.images.batches import whole_batch
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.shares import share_of
from ytf_torch.metrics import Share
from ytf_torch.network.module import Network
from ytf_torch.progress import Track, untracked


@dataclass(frozen=True)
class Alarm:
    """Flags the faces that a detector scores above `threshold`.

    clean_valid_flagged: what it flags of the faces that set the threshold; None where none did.
    """

    detector: Detector
    threshold: float
    clean_valid_flagged: Share | None = None

    def flags(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """(batch, 3, H, W), pixel values 0–255 → (batch,), True where a face is flagged."""
        return suspicions(self.detector, network, candidate, pixels) > self.threshold


def suspicions(
    detector: Detector, network: Network, candidate: Candidate | None, pixels: Tensor
) -> Tensor:
    """A detector's scores (batch,), +inf for what is more suspicious than any number says: where
    a score is NaN, as it is where logits are not finite."""
    return detector.scores(network, candidate, pixels).nan_to_num(torch.inf, torch.inf, -torch.inf)


@exact_float32()
def scores_of(
    detector: Detector,
    network: Network,
    candidate: Candidate | None,
    faces: ImageSet,
    track: Track = untracked,
) -> Tensor:
    """A detector's score of every face: (images,), float64, on the CPU.

    Of several processes each takes a share of the faces, and all get every score.
    """
    own = share_of(faces)
    done = track(f"scoring {faces.path.name}", len(own))
    found = [torch.zeros(0, dtype=torch.float64)]
    with torch.inference_mode(), together():
        for batch in own.batches():
            pixels = whole_batch(batch.pixels.to(network.device))
            scores = suspicions(detector, network, candidate, pixels)
            found.append(scores[: len(batch.labels)].double().cpu())
            done(len(batch.labels))
    return torch.cat(gathered(torch.cat(found)))


def calibrated(
    detector: Detector,
    network: Network,
    candidate: Candidate | None,
    clean_valid: ImageSet,
    false_positive_rate: float = 5.0,
    track: Track = untracked,
) -> Alarm:
    """The alarm for a nominal false positive rate, in percent, 0–100, with its threshold set on the
    clean validation faces. How many clean faces it flags elsewhere is measured, not promised."""
    scores = scores_of(detector, network, candidate, clean_valid, track)
    threshold = threshold_for(scores, false_positive_rate)
    return Alarm(detector, threshold, share_above(scores, threshold))
