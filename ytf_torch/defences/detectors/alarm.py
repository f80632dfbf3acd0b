"""A detector and its threshold, calibrated on clean validation images."""

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
    """Flags the images whose detector score exceeds `threshold`.

    clean_valid_flagged: share of the clean validation images that is flagged, where `threshold` was
    calibrated on them, else None.
    """

    detector: Detector
    threshold: float
    clean_valid_flagged: Share | None = None

    def flags(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """(batch, C, H, W), pixel values 0–255 → (batch,), True where an image is flagged."""
        return suspicions(self.detector, network, candidate, pixels) > self.threshold


def suspicions(
    detector: Detector, network: Network, candidate: Candidate | None, pixels: Tensor
) -> Tensor:
    """The detector's scores, (batch,), with NaN replaced by +inf.

    A score is NaN where logits are not finite. Such an image is flagged at any finite threshold.
    """
    return detector.scores(network, candidate, pixels).nan_to_num(torch.inf, torch.inf, -torch.inf)


@exact_float32()
def scores_of(
    detector: Detector,
    network: Network,
    candidate: Candidate | None,
    images: ImageSet,
    track: Track = untracked,
) -> Tensor:
    """The detector's score of every image of a set: (images,), float64, on the CPU.

    With several processes each scores its share of the images, and all return all scores.
    """
    local_images = share_of(images)
    done = track(f"scoring {images.path.name}", len(local_images))
    # The empty tensor is for a process whose share is empty: torch.cat needs at least one.
    local_scores = [torch.zeros(0, dtype=torch.float64)]
    with torch.inference_mode(), together():
        for batch in local_images.batches():
            # Padded to full batches, so that scores do not depend on how the set is divided.
            pixels = whole_batch(batch.pixels.to(network.device))
            scores = suspicions(detector, network, candidate, pixels)
            local_scores.append(scores[: len(batch.labels)].double().cpu())
            done(len(batch.labels))
    return torch.cat(gathered(torch.cat(local_scores)))


def calibrated(
    detector: Detector,
    network: Network,
    candidate: Candidate | None,
    clean_valid: ImageSet,
    false_positive_rate: float = 5.0,
    track: Track = untracked,
) -> Alarm:
    """Calibrate the detector's threshold on clean validation images.

    false_positive_rate: nominal, in percent, 0–100: the threshold is the smallest score that at
    most this share of `clean_valid` exceeds. The rate on other clean images may be higher; measure
    it.
    """
    scores = scores_of(detector, network, candidate, clean_valid, track)
    threshold = threshold_for(scores, false_positive_rate)
    return Alarm(detector, threshold, share_above(scores, threshold))
