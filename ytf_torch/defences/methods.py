"""Every repair, detector and scan under the name that commands, reports and tables give it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ytf_torch.defences.base import Candidate, Detector, Ranking, Repair, Scan
from ytf_torch.defences.detectors.badexpert import BadExpert
from ytf_torch.defences.detectors.energy_and_dissent import EnergyAndDissent
from ytf_torch.defences.detectors.goodnet import Disagreement
from ytf_torch.defences.detectors.strip import Strip
from ytf_torch.defences.installed import cannot_be_used, load_installed, origin_of
from ytf_torch.defences.names import name_of_method
from ytf_torch.defences.rankings.anp import AdversarialNeuronPruning
from ytf_torch.defences.rankings.clp import ChannelLipschitz
from ytf_torch.defences.rankings.kernel_norm import KernelNorm
from ytf_torch.defences.rankings.rnp import ReconstructiveNeuronPruning
from ytf_torch.defences.repairs.distillation import Distillation
from ytf_torch.defences.repairs.fine_tuning import FineTuning
from ytf_torch.defences.repairs.ft_sam import SharpnessAwareFineTuning
from ytf_torch.defences.repairs.i_bau import AdversarialUnlearning
from ytf_torch.defences.repairs.pruning import Pruning
from ytf_torch.defences.scans.last_layer import LastLayerOutliers
from ytf_torch.defences.scans.mm_bd import MaximumMargin
from ytf_torch.defences.scans.neural_cleanse import NeuralCleanse
from ytf_torch.errors import CannotRepairError, InputError, argument, mismatch
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track

MakeRepair = Callable[[int], Repair]
MakeDetector = Callable[[Network, ImageSet, int, Track], Detector]

# What a repair by pruning alone may cost: the middle one of the lab's three drops.
DROP = ("4",)
REPAIRS: dict[str, MakeRepair] = {
    "distillation": lambda seed: Distillation(seed=seed),
    "fine-tuning": lambda seed: FineTuning(seed=seed),
    "pruning": lambda seed: Pruning(DROP),
    "kernel-norm": lambda seed: Pruning(DROP, ranking=KernelNorm()),
    "clp": lambda seed: Pruning(DROP, ranking=ChannelLipschitz()),
    "anp": lambda seed: Pruning(DROP, ranking=AdversarialNeuronPruning(seed=seed)),
    "rnp": lambda seed: Pruning(DROP, ranking=ReconstructiveNeuronPruning(seed=seed)),
    "ft-sam": lambda seed: SharpnessAwareFineTuning(seed=seed),
    "i-bau": lambda seed: AdversarialUnlearning(seed=seed),
}
"""By name: from a seed to the repair."""

DETECTORS: dict[str, MakeDetector] = {
    "energy-and-dissent": lambda network, clean_valid, seed, track: EnergyAndDissent(clean_valid),
    "goodnet": lambda network, clean_valid, seed, track: Disagreement(),
    "strip": lambda network, clean_valid, seed, track: Strip(clean_valid, seed=seed),
    "badexpert": lambda network, clean_valid, seed, track: BadExpert(
        network, clean_valid, seed=seed, track=track
    ),
}
"""By name: from B, the clean validation faces and a seed to the detector."""

SCANS: dict[str, Scan] = {
    "last-layer": LastLayerOutliers(),
    "mm-bd": MaximumMargin(),
    "neural-cleanse": NeuralCleanse(),
}
"""By name, the quickest first."""


def repair_by(method: str | Repair | Ranking, seed: int) -> Repair:
    """A repair by its name, or as an object of its own; a ranking is a repair that prunes by it.

    Raises KeyError for a name that nobody has, and InputError where a package's cannot be loaded.
    """
    if not isinstance(method, str):
        return _as_repair(method, name_of_method(method))
    if method in REPAIRS:
        return REPAIRS[method](seed)
    return _as_repair(_made("repair", method, seed=seed), origin_of("repair", method))


def detector_by(
    method: str | Detector, network: Network, clean_valid: ImageSet, seed: int, track: Track
) -> Detector:
    """A detector by its name, or as an object of its own. Raises as `repair_by` does."""
    if not isinstance(method, str):
        _check(method, "scores", name_of_method(method))
        return method
    if method in DETECTORS:
        return DETECTORS[method](network, clean_valid, seed, track)
    made: Detector = _made("detector", method, network, clean_valid, seed=seed, track=track)
    _check(made, "scores", origin_of("detector", method))
    return made


def scan_by(method: str | Scan) -> Scan:
    """A scan by its name, or as an object of its own. Raises as `repair_by` does."""
    if not isinstance(method, str):
        _check(method, "suspicions", name_of_method(method))
        return method
    if method in SCANS:
        return SCANS[method]
    made: Scan = _made("scan", method)
    _check(made, "suspicions", origin_of("scan", method))
    return made


def _made(use: str, name: str, *arguments: object, **options: object) -> Any:  # noqa: ANN401
    """What an entry point of another package makes."""
    _, make = load_installed(use, name)
    try:
        return make(*arguments, **options)
    except InputError:
        raise
    except Exception as error:  # of somebody else's code
        raise cannot_be_used(origin_of(use, name), "made", error) from error


def _as_repair(found: Any, where: str) -> Repair:  # noqa: ANN401
    if callable(getattr(found, "scores", None)):
        return Pruning(DROP, ranking=found)
    _check(found, "candidates", where)
    repair: Repair = found
    return repair


def _check(found: object, method: str, where: str) -> None:
    """Raises InputError where an object lacks the method that is asked of it."""
    if not callable(getattr(found, method, None)):
        expected = f"an object with a method `{method}`, see ytf_torch/defences/base.py"
        raise mismatch(where, expected, f"a {type(found).__name__}")


def last_candidate(
    repair: Repair, network: Network, clean_valid: ImageSet, track: Track
) -> Candidate:
    """The candidate that a repair gives last: the one that went furthest.

    Raises CannotRepairError where it gives none, as pruning does that never loses what it may.
    """
    *_, last = [None, *repair.candidates(network, clean_valid, track)]
    if last is None:
        raise CannotRepairError(
            clean_valid.path,
            "clean accuracy falls at no step by as much as this repair may cost, so it has nothing "
            "to offer",
            f"Choose another method with {argument('method')}",
        )
    return last
