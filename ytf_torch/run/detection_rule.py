"""The rule by which images are flagged. Its options are checked before heavy imports."""

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
"""The default nominal false positive rate of a detector's threshold, in percent."""


@dataclass(frozen=True)
class Rule:
    """A detector and its calibration.

    detector: its name, or an object. clean_valid: the images it is calibrated on. false_positives:
    the nominal false positive rate in percent.
    """

    detector: str | Detector
    clean_valid: Path | ImageSet
    false_positives: float


def detection_rule(
    detector: str | Detector | None,
    clean_valid: Path | ImageSet | None,
    false_positives: float | None,
) -> Rule | None:
    """The requested rule; None for GoodNet's own, which is the default.

    Raises InputError where the options are incomplete, the detector is unknown, or the rate is not
    in 0–100.
    """
    if detector is None:
        for name, value in (("clean_valid", clean_valid), ("false_positives", false_positives)):
            if value is not None:
                expected = f"{argument('detector', 'NAME')} with it, whose threshold it sets"
                raise mismatch(argument(name), expected, "none")
        return None
    chosen = detector_called(detector) if isinstance(detector, str) else detector
    if isinstance(chosen, str) and not is_known("detector", chosen):
        known = f"{RECOMMENDED} or one of {', '.join(every('detector'))}"
        raise mismatch(argument("detector"), known, chosen)
    if clean_valid is None:
        expected = f"{argument('clean_valid')} with it, faces that set its threshold"
        raise mismatch(argument("detector"), expected, "none")
    percent = FALSE_POSITIVES if false_positives is None else false_positives
    if not 0 <= percent <= 100:
        raise mismatch(argument("false_positives"), "a percentage, 0–100", f"{percent:g}")
    return Rule(chosen, clean_valid, percent)
