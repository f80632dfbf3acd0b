"""Creates repairs, detectors and scans by their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ytf_torch.defences.base import Candidate, Detector, Ranking, Repair, Scan
from ytf_torch.defences.detectors.badexpert import BadExpert
from ytf_torch.defences.detectors.energy_and_dissent import EnergyAndDissent
from ytf_torch.defences.detectors.goodnet import Disagreement
from ytf_torch.defences.detectors.ibd_psc import ParameterScaling
from ytf_torch.defences.detectors.scale_up import ScaleUp
from ytf_torch.defences.detectors.strip import Strip
from ytf_torch.defences.detectors.ted import TopologicalEvolution
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

# Percentage points of clean accuracy that repairs by pruning may lose: the second of the lab's
# three drops (2, 4, 10).
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
"""By name: seed → repair."""

DETECTORS: dict[str, MakeDetector] = {
    "energy-and-dissent": lambda network, clean_valid, seed, track: EnergyAndDissent(clean_valid),
    "goodnet": lambda network, clean_valid, seed, track: Disagreement(),
    "strip": lambda network, clean_valid, seed, track: Strip(clean_valid, seed=seed),
    "badexpert": lambda network, clean_valid, seed, track: BadExpert(
        network, clean_valid, seed=seed, track=track
    ),
    "scale-up": lambda network, clean_valid, seed, track: ScaleUp(
        network, clean_valid, track=track
    ),
    "ibd-psc": lambda network, clean_valid, seed, track: ParameterScaling(
        network, clean_valid, seed=seed, track=track
    ),
    "ted": lambda network, clean_valid, seed, track: TopologicalEvolution(
        network, clean_valid, seed=seed, track=track
    ),
}
"""By name: (B, clean validation images, seed, track) → detector."""

SCANS: dict[str, Scan] = {
    "last-layer": LastLayerOutliers(),
    "mm-bd": MaximumMargin(),
    "neural-cleanse": NeuralCleanse(),
}
"""By name, fastest first."""


def repair_by(method: str | Repair | Ranking, seed: int) -> Repair:
    """The repair of this name, or the object itself; a ranking becomes a repair that prunes by it.

    Raises KeyError for an unknown name, and InputError if another package's method cannot be loaded
    or an object lacks the required method.
    """
    if not isinstance(method, str):
        return _as_repair(method, name_of_method(method))
    if method in REPAIRS:
        return REPAIRS[method](seed)
    return _as_repair(_create("repair", method, seed=seed), origin_of("repair", method))


def detector_by(
    method: str | Detector, network: Network, clean_valid: ImageSet, seed: int, track: Track
) -> Detector:
    """The detector of this name, or the object itself. Raises as `repair_by` does."""
    if not isinstance(method, str):
        _check(method, "scores", name_of_method(method))
        return method
    if method in DETECTORS:
        return DETECTORS[method](network, clean_valid, seed, track)
    detector: Detector = _create("detector", method, network, clean_valid, seed=seed, track=track)
    _check(detector, "scores", origin_of("detector", method))
    return detector


def scan_by(method: str | Scan) -> Scan:
    """The scan of this name, or the object itself. Raises as `repair_by` does."""
    if not isinstance(method, str):
        _check(method, "suspicions", name_of_method(method))
        return method
    if method in SCANS:
        return SCANS[method]
    scan: Scan = _create("scan", method)
    _check(scan, "suspicions", origin_of("scan", method))
    return scan


def _create(use: str, name: str, *arguments: object, **options: object) -> Any:  # noqa: ANN401
    """Call another package's entry point."""
    _, factory = load_installed(use, name)
    try:
        return factory(*arguments, **options)
    except InputError:
        raise
    except Exception as error:  # another package's code may raise anything
        raise cannot_be_used(origin_of(use, name), "created", error) from error


def _as_repair(method: Any, origin: str) -> Repair:  # noqa: ANN401
    if callable(getattr(method, "scores", None)):
        return Pruning(DROP, ranking=method)
    _check(method, "candidates", origin)
    repair: Repair = method
    return repair


def _check(subject: object, method: str, origin: str) -> None:
    """Raises InputError if the object lacks the required method. origin: names it in the error."""
    if not callable(getattr(subject, method, None)):
        expected = f"an object with a method `{method}`, see ytf_torch/defences/base.py"
        raise mismatch(origin, expected, f"a {type(subject).__name__}")


def last_candidate(
    repair: Repair, network: Network, clean_valid: ImageSet, track: Track
) -> Candidate:
    """The last candidate of a repair, which is the one that changes the network most.

    Raises CannotRepairError if there is none, as for pruning that never reaches its drop.
    """
    *_, last = [None, *repair.candidates(network, clean_valid, track)]
    if last is None:
        raise CannotRepairError(
            clean_valid.path,
            "no pruning step loses as much clean accuracy as this repair may cost, so it has no "
            "candidate",
            f"Choose another method with {argument('method')}",
        )
    return last
