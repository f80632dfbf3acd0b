"""What a detector is worth: its rates at thresholds set on clean faces, and its ROC curve."""

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
"""Percent: the false positive rates for which thresholds are set."""


@dataclass(frozen=True)
class AtNominal:
    """A detector with the threshold for one nominal false positive rate.

    nominal: percent of clean faces that may be flagged. false_positive_rate: measured on
    clean test faces; true_positive_rate: on triggered faces; None where there were none.
    """

    nominal: float
    threshold: float
    false_positive_rate: Share | None
    true_positive_rate: Share | None


@dataclass(frozen=True)
class DetectorFigures:
    """What a detector is worth.

    auroc: area under the ROC curve, 0–1, of clean test against triggered faces. curve: the curve's
    (false positive rate, true positive rate) in percent; empty where it was not measured.
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
    """Set thresholds on the clean validation faces and measure them on the other sets."""
    valid = scores_of(detector, network, candidate, clean_valid, track)
    clean = (
        None if clean_test is None else scores_of(detector, network, candidate, clean_test, track)
    )
    triggered = [scores_of(detector, network, candidate, s, track) for s in poisoned_tests]
    attack = torch.cat(triggered) if triggered else None
    at = []
    for nominal in NOMINAL:
        threshold = threshold_for(valid, nominal)
        at.append(
            AtNominal(nominal, threshold, _above(clean, threshold), _above(attack, threshold))
        )
    if clean is None or attack is None:
        return DetectorFigures(tuple(at), None)
    return DetectorFigures(tuple(at), area_under_roc(clean, attack), roc_curve(clean, attack))


def _above(scores: Tensor | None, threshold: float) -> Share | None:
    return None if scores is None or not len(scores) else share_above(scores, threshold)


def area_under_roc(clean: Tensor, triggered: Tensor) -> float:
    """How likely a triggered face scores higher than a clean one, 0–1; a tie counts half.

    >>> area_under_roc(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    0.875
    """
    ordered = clean.sort().values
    below = torch.searchsorted(ordered, triggered)
    ties = torch.searchsorted(ordered, triggered, right=True) - below
    return float((below + ties / 2).double().mean() / len(clean))


def roc_curve(clean: Tensor, triggered: Tensor) -> tuple[tuple[float, float], ...]:
    """(false positive rate, true positive rate) in percent at every whole percent of the first."""
    points = []
    for percent in range(101):
        threshold = threshold_for(clean, percent)
        caught = float((triggered > threshold).double().mean())
        points.append((100 * float((clean > threshold).double().mean()), 100 * caught))
    return tuple(points)
