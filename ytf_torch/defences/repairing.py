"""Runs one repair and evaluates the repaired network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ytf_torch.defences.base import Candidate, Ranking, Repair
from ytf_torch.defences.detectors.figures import DetectorFigures, measure_detector
from ytf_torch.defences.doubts import Doubt
from ytf_torch.defences.evaluation import Evaluation, evaluate
from ytf_torch.defences.methods import detector_by, last_candidate, repair_by
from ytf_torch.defences.names import QUICK_DETECTORS, name_of_method
from ytf_torch.defences.relearning import Relearning
from ytf_torch.device import exact_float32
from ytf_torch.errors import CannotDetectError, InputError, argument
from ytf_torch.images.image_set import ImageSets
from ytf_torch.network.module import Network
from ytf_torch.progress import Track, untracked


@dataclass(frozen=True)
class RepairOutcome:
    """A repaired network and its evaluation.

    seconds: time it took to make the candidate. evaluation: counts of B, B′ and GoodNet on all
    sets. detectors: detection rates, by the detector's name. not_applicable: why a detector has
    none, by its name. relearning: whether the backdoor comes back; None where that was not
    requested. doubts: grave warnings about the image sets, which replace the verdict.
    """

    method: str
    seed: int
    seconds: float
    candidate: Candidate
    evaluation: Evaluation
    detectors: Mapping[str, DetectorFigures]
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    relearning: Relearning | None = None
    doubts: Sequence[Doubt] = ()


@exact_float32()
def repair_and_measure(
    network: Network,
    sets: ImageSets,
    method: str | Repair | Ranking,
    seed: int = 0,
    detectors: Sequence[str] = QUICK_DETECTORS,
    track: Track = untracked,
) -> RepairOutcome:
    """Repair B, and evaluate the last candidate and the detectors.

    method: its name, or an object. The repair and the calibration of detectors see the clean
    validation images alone; the other sets are only evaluated. Raises KeyError for an unknown
    method or detector, CannotRepairError if the method has no candidate, and InputError if training
    diverges.

    >>> valid = ytf_torch.open_images(Path("valid.h5"), network.input_shape, network.classes)
    >>> outcome = repair_and_measure(network, ImageSets(valid), "pruning")
    >>> outcome.evaluation.repaired.clean_valid_accuracy
    66.67 % (46.71–82.03), 16 of 24
    """
    began = time.perf_counter()
    candidate = last_candidate(repair_by(method, seed), network, sets.clean_valid, track)
    seconds = time.perf_counter() - began
    if not all(bool(weights.isfinite().all()) for weights in candidate.network.parameters()):
        raise InputError(
            f"repair by {name_of_method(method)}",
            "training diverged: weights of the repaired network are NaN or infinite",
            f"Choose another method with {argument('method')}",
        )
    figures, not_applicable = _measured(detectors, network, candidate, sets, seed, track)
    return RepairOutcome(
        name_of_method(method),
        seed,
        seconds,
        candidate,
        evaluate(
            network,
            sets.clean_test,
            sets.poisoned_tests,
            candidate.network,
            track=track,
            clean_valid=sets.clean_valid,
            pairings=sets.pairings,
        ),
        figures,
        not_applicable,
    )


def _measured(
    detectors: Sequence[str],
    network: Network,
    candidate: Candidate,
    sets: ImageSets,
    seed: int,
    track: Track,
) -> tuple[dict[str, DetectorFigures], dict[str, str]]:
    """The detection rates by the detector's name, and why others cannot be measured."""
    figures: dict[str, DetectorFigures] = {}
    not_applicable: dict[str, str] = {}
    for name in detectors:
        try:
            detector = detector_by(name, network, sets.clean_valid, seed, track)
        except CannotDetectError as error:
            not_applicable[name] = error.line()
            continue
        images = (sets.clean_valid, sets.clean_test, sets.poisoned_tests)
        figures[name] = measure_detector(detector, network, candidate, *images, track)
    return figures, not_applicable
