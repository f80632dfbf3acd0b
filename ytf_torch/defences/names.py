"""The names of all repairs, detectors and scans, without what makes them: PyTorch takes seconds."""

from __future__ import annotations

REPAIRS = (
    "distillation",
    "fine-tuning",
    "pruning",
    "kernel-norm",
    "clp",
    "anp",
    "rnp",
    "ft-sam",
    "i-bau",
)
DETECTORS = ("energy-and-dissent", "goodnet", "strip", "badexpert")
SCANS = ("last-layer", "mm-bd", "neural-cleanse")

RECOMMENDED = "recommended"
RECOMMENDED_REPAIR = "distillation"
RECOMMENDED_DETECTOR = "energy-and-dissent"
QUICK_DETECTORS = ("energy-and-dissent", "goodnet")
"""Those that cost a few forward passes; STRIP takes a hundred for each face."""


def repair_called(name: str) -> str:
    """The name of a repair, which may be called "recommended" too."""
    return RECOMMENDED_REPAIR if name == RECOMMENDED else name


def detector_called(name: str) -> str:
    """The name of a detector, which may be called "recommended" too."""
    return RECOMMENDED_DETECTOR if name == RECOMMENDED else name
