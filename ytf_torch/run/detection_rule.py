"""By which rule faces are flagged, checked before anything heavy is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ytf_torch.defences.names import RECOMMENDED, detector_called, every, is_known
from ytf_torch.errors import argument, mismatch

if TYPE_CHECKING:
    from ytf_torch.defences.base import Detector
    from ytf_torch.images.image_set import ImageSet

FALSE_POSITIVES = 1.0
"""The nominal false positive rate of a detector's threshold, in percent, if not asked."""


@dataclass(frozen=True)
class Rule:
    """A detector, by its name or as an object, and what sets its threshold: clean faces and a
    nominal rate in percent."""

    detector: str | Detector
    clean_valid: Path | ImageSet
    false_positives: float


def detection_rule(
    detector: str | Detector | None,
    clean_valid: Path | ImageSet | None,
    false_positives: float | None,
) -> Rule | None:
    """What was asked for; None for GoodNet's own rule. Raises InputError where it is half said."""
    if detector is None:
        for name, given in (("clean_valid", clean_valid), ("false_positives", false_positives)):
            if given is not None:
                needed = f"{argument('detector', 'NAME')} with it, whose threshold it sets"
                raise mismatch(argument(name), needed, "none")
        return None
    chosen = detector_called(detector) if isinstance(detector, str) else detector
    if isinstance(chosen, str) and not is_known("detector", chosen):
        known = f"{RECOMMENDED} or one of {', '.join(every('detector'))}"
        raise mismatch(argument("detector"), known, chosen)
    if clean_valid is None:
        needed = f"{argument('clean_valid')} with it, faces that set its threshold"
        raise mismatch(argument("detector"), needed, "none")
    percent = FALSE_POSITIVES if false_positives is None else false_positives
    if not 0 <= percent <= 100:
        raise mismatch(argument("false_positives"), "a percentage, 0–100", f"{percent:g}")
    return Rule(chosen, clean_valid, percent)
