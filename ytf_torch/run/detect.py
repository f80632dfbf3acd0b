"""Detection of triggered images: open and check B, B′ and a detector, and calibrate it."""

from __future__ import annotations

from dataclasses import dataclass

from ytf_torch.defences.base import Candidate
from ytf_torch.defences.detectors.alarm import Alarm, calibrated
from ytf_torch.defences.doubts import Doubt
from ytf_torch.defences.methods import detector_by
from ytf_torch.defences.names import name_of_method
from ytf_torch.device import resolve_device
from ytf_torch.images.image_set import ImageSet
from ytf_torch.progress import Track, untracked
from ytf_torch.run.detection_rule import Rule
from ytf_torch.run.learning import open_learned
from ytf_torch.run.pair import Asked, Model, Pair, open_pair


@dataclass(frozen=True)
class Detection:
    """B and B′, and for a detector the clean images that calibrate it.

    rule: None for GoodNet's own rule, which has no threshold. doubts: warnings about the clean
    images.
    """

    pair: Pair
    rule: Rule | None = None
    clean_valid: ImageSet | None = None
    doubts: tuple[Doubt, ...] = ()


def open_detection(
    model: Model,
    repaired: Model,
    rule: Rule | None = None,
    asked: Asked = None,
    *,
    any_pair: bool = False,
    device: str = "auto",
) -> Detection:
    """Open the networks, on the device, and the clean images of the rule.

    rule: None for GoodNet's own. asked: see open_pair. any_pair: accept networks that do not
    belong together. The clean images also decide whether B′ was derived from B, where neither
    provenance nor weights do. Raises InputError.
    """
    on_device = resolve_device(device)
    pair = open_pair(model, repaired, asked, any_pair=any_pair)
    badnet = pair.badnet.model.to(on_device)
    pair.repaired.model.to(on_device)
    if rule is None:
        return Detection(pair)
    clean, doubts = open_learned(badnet, rule.clean_valid, [name_of_method(rule.detector)])
    return Detection(pair.settled(clean, any_pair=any_pair), rule, clean, tuple(doubts))


def alarm_of(detection: Detection, track: Track = untracked) -> Alarm | None:
    """The calibrated detector; None for GoodNet's own rule."""
    rule, clean = detection.rule, detection.clean_valid
    if rule is None or clean is None:
        return None
    badnet, repaired = detection.pair.badnet.model, detection.pair.repaired.model
    detector = detector_by(rule.detector, badnet, clean, 0, track)
    candidate = Candidate("repaired", repaired, ())
    return calibrated(detector, badnet, candidate, clean, rule.false_positives, track)
