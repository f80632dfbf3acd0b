"""The names of all repairs, detectors and scans, without importing PyTorch, which takes seconds."""

from __future__ import annotations

from ytf_torch.defences.installed import check_unambiguous, installed_names, load_installed

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
DETECTORS = (
    "energy-and-dissent",
    "goodnet",
    "strip",
    "badexpert",
    "scale-up",
    "ibd-psc",
    "ted",
)
SCANS = ("last-layer", "mm-bd", "neural-cleanse")

# Clean twins of a network, for the p-value of a scan: of 999 it is 0.001 at least.
MOST_TWINS = 999

RECOMMENDED = "recommended"
RECOMMENDED_REPAIR = "distillation"
RECOMMENDED_DETECTOR = "energy-and-dissent"
QUICK_DETECTORS = ("energy-and-dissent", "goodnet")
"""Those that cost two forward passes for each image and have nothing to prepare; STRIP costs a
hundred, SCALE-UP and IBD-PSC up to six, and TED compares each image with thousands."""


def repair_called(name: str) -> str:
    """The name of a repair, with "recommended" resolved."""
    return RECOMMENDED_REPAIR if name == RECOMMENDED else name


def detector_called(name: str) -> str:
    """The name of a detector, with "recommended" resolved."""
    return RECOMMENDED_DETECTOR if name == RECOMMENDED else name


OWN = {"repair": REPAIRS, "detector": DETECTORS, "scan": SCANS}


def every(use: str) -> tuple[str, ...]:
    """All names for a use, a key of OWN: ytf-torch's, then those of other installed packages."""
    return tuple(dict.fromkeys((*OWN[use], *installed_names(use))))


def is_known(use: str, name: str) -> bool:
    """Whether there is a method of this name. Raises InputError as `check_unambiguous` does."""
    check_unambiguous(use, name, OWN[use])
    return name in every(use)


def check_loadable(use: str) -> None:
    """Raises InputError if a method of another package has an ambiguous name or cannot be loaded.

    For runs of all methods, so that they fail at the start.
    """
    for name in installed_names(use):
        check_unambiguous(use, name, OWN[use])
        load_installed(use, name)


def name_of_method(method: object) -> str:
    """A method's name; for an object, its attribute `name`, or else the name of its class."""
    if isinstance(method, str):
        return method
    name = getattr(method, "name", None)
    return name if isinstance(name, str) and name else type(method).__name__
