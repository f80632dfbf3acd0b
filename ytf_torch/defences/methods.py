"""Every repair, detector and scan under the name that commands, reports and tables give it."""

from __future__ import annotations

from collections.abc import Callable

from ytf_torch.defences.base import Candidate, Detector, Repair, Scan
from ytf_torch.defences.detectors.badexpert import BadExpert
from ytf_torch.defences.detectors.energy_and_dissent import EnergyAndDissent
from ytf_torch.defences.detectors.goodnet import Disagreement
from ytf_torch.defences.detectors.strip import Strip
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
from ytf_torch.errors import CannotRepairError, argument
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
