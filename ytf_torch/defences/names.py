"""The names of all repairs, detectors and scans, without what makes them: PyTorch takes seconds."""

from __future__ import annotations

REPAIRS = ("pruning", "kernel-norm", "clp", "anp", "rnp", "ft-sam", "i-bau")
DETECTORS = ("goodnet", "strip", "badexpert")
SCANS = ("last-layer", "mm-bd", "neural-cleanse")

RECOMMENDED_REPAIR = "ft-sam"
QUICK_DETECTORS = ("goodnet",)
"""Those that cost a few forward passes; STRIP takes a hundred for each face."""
