"""The names of all repairs, detectors and scans, without what makes them: PyTorch takes seconds."""

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


OWN = {"repair": REPAIRS, "detector": DETECTORS, "scan": SCANS}


def every(use: str) -> tuple[str, ...]:
    """The names of all repairs, detectors or scans, a key of OWN: ytf-torch's, then those of other
    packages that are installed."""
    return tuple(dict.fromkeys((*OWN[use], *installed_names(use))))


def is_known(use: str, name: str) -> bool:
    """Whether a method can be asked for by a name. Raises InputError where it has several meanings,
    see check_unambiguous."""
    check_unambiguous(use, name, OWN[use])
    return name in every(use)


def check_loadable(use: str) -> None:
    """Raises InputError where the methods of other packages have names of two meanings, or cannot
    be loaded: for a flow that asks for every one."""
    for name in installed_names(use):
        check_unambiguous(use, name, OWN[use])
        load_installed(use, name)


def name_of_method(method: object) -> str:
    """A method's name; of an object that Python was given, its attribute `name` or its class's."""
    if isinstance(method, str):
        return method
    own = getattr(method, "name", None)
    return own if isinstance(own, str) and own else type(method).__name__
