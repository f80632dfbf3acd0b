"""A detector with the score above which it flags a face, set on clean validation faces."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ytf_torch.defences.base import Candidate, Detector
from ytf_torch.device import exact_float32
from ytf_torch.distributed import gathered, together
from ytf_torch.faces.batches import whole_batch
from ytf_torch.faces.face_set import FaceSet
from ytf_torch.faces.shares import share_of
from ytf_torch.network.module import Network
from ytf_torch.progress import Track, untracked

# Validation faces share photos and were shown to the repair: of other clean faces, about twice as
# many lie above a threshold.
CAUTION = 0.5


@dataclass(frozen=True)
class Alarm:
    """Flags the faces that a detector scores above `threshold`."""

    detector: Detector
    threshold: float

    def flags(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """(batch, 3, H, W), pixel values 0–255 → (batch,), True where a face is flagged."""
        return self.detector.scores(network, candidate, pixels) > self.threshold


@exact_float32()
def scores_of(
    detector: Detector,
    network: Network,
    candidate: Candidate | None,
    faces: FaceSet,
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
            scores = detector.scores(network, candidate, pixels)
            found.append(scores[: len(batch.labels)].double().cpu())
            done(len(batch.labels))
    return torch.cat(gathered(torch.cat(found)))


def threshold_for(clean_scores: Tensor, nominal: float) -> float:
    """The smallest of these scores above which at most `nominal` percent of them lie; below all of
    them where that is 100.

    >>> threshold_for(torch.arange(1, 101), 5.0)
    95.0
    """
    allowed = math.floor(len(clean_scores) * nominal / 100)
    if allowed >= len(clean_scores):
        return -math.inf
    return float(clean_scores.sort(descending=True).values[allowed])


def cautious_threshold(validation_scores: Tensor, nominal: float) -> float:
    """The threshold for a nominal false positive rate, in percent: at most CAUTION of it lies above
    of the clean validation faces, whose scores these are."""
    return threshold_for(validation_scores, nominal * CAUTION)


def calibrated(
    detector: Detector,
    network: Network,
    candidate: Candidate | None,
    clean_valid: FaceSet,
    false_positive_rate: float = 5.0,
    track: Track = untracked,
) -> Alarm:
    """The alarm for a nominal false positive rate, in percent, 0–100, with its threshold set on the
    clean validation faces. How many clean faces it flags elsewhere is measured, not promised."""
    scores = scores_of(detector, network, candidate, clean_valid, track)
    return Alarm(detector, cautious_threshold(scores, false_positive_rate))
