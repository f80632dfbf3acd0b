"""Detection rates at thresholds calibrated on clean validation images, and the ROC curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ytf_torch.defences.base import Candidate, Detector
from ytf_torch.defences.detectors.alarm import scores_of
from ytf_torch.defences.detectors.threshold import share_above, threshold_for
from ytf_torch.images.image_set import ImageSet
from ytf_torch.metrics import Share
from ytf_torch.network.module import Network
from ytf_torch.progress import Track, untracked

NOMINAL = (1.0, 5.0)
"""The nominal false positive rates, in percent, for which thresholds are calibrated."""


@dataclass(frozen=True)
class AtNominal:
    """A detector's rates at the threshold for one nominal false positive rate.

    nominal: percent of the clean validation images that may be flagged. false_positive_rate:
    measured on the clean test images. true_positive_rate: measured on the triggered images. Either
    is None if there were no such images.
    """

    nominal: float
    threshold: float
    false_positive_rate: Share | None
    true_positive_rate: Share | None


@dataclass(frozen=True)
class DetectorFigures:
    """Detection rates of a detector, and its ROC curve for clean test against triggered images.

    auroc: area under that curve, 0–1. curve: its points (false positive rate, true positive rate)
    in percent. None and empty if either set is missing.
    """

    at: tuple[AtNominal, ...]
    auroc: float | None
    curve: tuple[tuple[float, float], ...] = ()


def measure_detector(
    detector: Detector,
    network: Network,
    candidate: Candidate | None,
    clean_valid: ImageSet,
    clean_test: ImageSet | None,
    poisoned_tests: Sequence[ImageSet],
    track: Track = untracked,
) -> DetectorFigures:
    """Calibrate thresholds on the clean validation images and measure them on the other sets."""
    valid = scores_of(detector, network, candidate, clean_valid, track)
    clean = (
        None if clean_test is None else scores_of(detector, network, candidate, clean_test, track)
    )
    by_set = [scores_of(detector, network, candidate, s, track) for s in poisoned_tests]
    triggered = torch.cat(by_set) if by_set else None
    at = []
    for nominal in NOMINAL:
        threshold = threshold_for(valid, nominal)
        at.append(
            AtNominal(nominal, threshold, _above(clean, threshold), _above(triggered, threshold))
        )
    if clean is None or triggered is None:
        return DetectorFigures(tuple(at), None)
    return DetectorFigures(tuple(at), area_under_roc(clean, triggered), roc_curve(clean, triggered))


def _above(scores: Tensor | None, threshold: float) -> Share | None:
    return None if scores is None or not len(scores) else share_above(scores, threshold)


def area_under_roc(clean: Tensor, triggered: Tensor) -> float:
    """Area under the ROC curve, 0–1: P(triggered > clean) + ½ P(triggered = clean).

    >>> area_under_roc(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    0.875
    """
    # The Mann–Whitney statistic by binary search, in O(n log n), without all pairs of scores.
    ordered = clean.sort().values
    below = torch.searchsorted(ordered, triggered)
    ties = torch.searchsorted(ordered, triggered, right=True) - below
    return float((below + ties / 2).double().mean() / len(clean))


def roc_curve(clean: Tensor, triggered: Tensor) -> tuple[tuple[float, float], ...]:
    """(false positive rate, true positive rate), in percent, at the thresholds for nominal false
    positive rates of 0, 1, … 100 %."""
    points = []
    for percent in range(101):
        threshold = threshold_for(clean, percent)
        true_positives = float((triggered > threshold).double().mean())
        points.append((100 * float((clean > threshold).double().mean()), 100 * true_positives))
    return tuple(points)
