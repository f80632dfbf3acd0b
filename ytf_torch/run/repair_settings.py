"""What decides a repair, or a comparison of many, checked before anything heavy is loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ytf_torch.defences.names import (
    QUICK_DETECTORS,
    RECOMMENDED,
    RECOMMENDED_REPAIR,
    REPAIRS,
    every,
    is_known,
    name_of_method,
)
from ytf_torch.disk.reading import checked_source
from ytf_torch.errors import InputError, argument, mismatch
from ytf_torch.run.lock import check_out
from ytf_torch.run.places import check_inputs_are_elsewhere

if TYPE_CHECKING:
    from ytf_torch.defences.base import Ranking, Repair
    from ytf_torch.images.image_set import ImageSet
    from ytf_torch.network.checkpoint import Checkpoint
    from ytf_torch.network.preprocessing import Preprocessing

MODEL_FILE = "repaired.safetensors"
# Each seed makes and measures every repair anew, which takes minutes.
MAX_SEEDS = 100


@dataclass(frozen=True, kw_only=True)
class MeasuredInputs(ABC):
    """A network, its face sets and where results go.

    Python may give networks and face sets that are in memory already. preprocessing: of a Keras
    file, which does not tell it. target: the attacker's, for triggered faces that carry their true
    labels.
    """

    model: Path | Checkpoint
    clean_valid: Path | ImageSet
    out: Path
    clean_test: Path | ImageSet | None = None
    poisoned_test: tuple[Path | ImageSet, ...] = ()
    device: str = "auto"
    preprocessing: Preprocessing | None = None
    target: int | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read."""
        given = (self.model, self.clean_valid, self.clean_test, *self.poisoned_test)
        return tuple(path for path in given if isinstance(path, Path))

    @property
    @abstractmethod
    def used(self) -> tuple[str, ...]:
        """The names of all repairs and detectors that the clean validation faces are shown to."""


@dataclass(frozen=True, kw_only=True)
class RepairSettings(MeasuredInputs):
    """Everything that decides a repair.

    method: its name, or from Python an object. seed: equal ones give equal networks.
    poisoned_valid: triggered validation sets; with them it is measured whether the backdoor comes
    back, see defences/relearning.py.
    """

    method: str | Repair | Ranking = RECOMMENDED_REPAIR
    seed: int = 0
    poisoned_valid: tuple[Path | ImageSet, ...] = ()

    @property
    def relearning(self) -> bool:
        """Whether to measure if the backdoor comes back."""
        return bool(self.poisoned_valid)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read."""
        return (*super().files, *_paths(self.poisoned_valid))

    @property
    def used(self) -> tuple[str, ...]:
        """See MeasuredInputs."""
        return (name_of_method(self.method), *QUICK_DETECTORS)


@dataclass(frozen=True, kw_only=True)
class CompareSettings(MeasuredInputs):
    """Everything that decides a comparison.

    methods: names, or from Python objects, in the order of the table. seeds: how often each is run,
    with seeds 0, 1, 2, … clean_control: a network without a backdoor, to see what each method
    costs it. relearning: whether to measure if backdoors come back, see defences/relearning.py.
    poisoned_valid: triggered validation sets, for that alone.
    """

    methods: tuple[str | Repair | Ranking, ...] = REPAIRS
    seeds: int = 1
    clean_control: Path | Checkpoint | None = None
    relearning: bool = False
    poisoned_valid: tuple[Path | ImageSet, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the methods."""
        return tuple(map(name_of_method, self.methods))

    @property
    def number_of_repairs(self) -> int:
        """Number of repairs of B, with every method and seed, and of the clean control, with every
        method; without those of relearning."""
        return len(self.methods) * (self.seeds + (self.clean_control is not None))

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is read."""
        control = (self.clean_control,) if isinstance(self.clean_control, Path) else ()
        return (*super().files, *control, *_paths(self.poisoned_valid))

    @property
    def used(self) -> tuple[str, ...]:
        """See MeasuredInputs."""
        return (*self.names, *every("detector"))


def check_settings(settings: RepairSettings) -> None:
    """Raises InputError where the method is not known, a file cannot be read, or OUT is taken."""
    _check_methods("method", [settings.method])
    if settings.poisoned_valid:
        _check_measured(settings, "poisoned_valid")
    for file in settings.files:
        checked_source(file)
    check_out(settings.out)
    check_inputs_are_elsewhere(settings.out, settings.files)


def check_comparison(settings: CompareSettings) -> None:
    """Raises InputError where a method is not known or named twice, or a file cannot be read."""
    _check_methods("methods", settings.methods)
    if len(set(settings.names)) != len(settings.names):
        found = ", ".join(settings.names)
        raise InputError(argument("methods"), f"expected each once, found {found}")
    if not 1 <= settings.seeds <= MAX_SEEDS:
        raise mismatch(argument("seeds"), f"a number of 1…{MAX_SEEDS}", settings.seeds)
    if settings.relearning:
        _check_measured(settings, "relearning")
    elif settings.poisoned_valid:
        problem = f"is only used with {argument('relearning')}"
        raise InputError(argument("poisoned_valid"), problem, "Add that, or leave this out")
    for file in settings.files:
        checked_source(file)
    check_inputs_are_elsewhere(settings.out, settings.files)


def _paths(sets: Sequence[Path | ImageSet]) -> tuple[Path, ...]:
    return tuple(path for path in sets if isinstance(path, Path))


def _check_measured(settings: MeasuredInputs, name: str) -> None:
    """Raises InputError where there are no triggered test images to measure relearning on. name: of
    the argument that requests it."""
    if not settings.poisoned_test:
        problem = "the attack success rate is measured on triggered test faces, and there are none"
        raise InputError(argument(name), problem, f"Give some with {argument('poisoned_test')}")


def _check_methods(name: str, methods: Sequence[str | Repair | Ranking]) -> None:
    """name: of the argument."""
    for method in methods:
        if isinstance(method, str) and not is_known("repair", method):
            known = ", ".join((*every("repair"), RECOMMENDED))
            raise mismatch(argument(name), f"one of {known}", method or "nothing")
