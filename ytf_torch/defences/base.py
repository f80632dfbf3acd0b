"""The interfaces of rankings, repairs, detectors and scans.

All decide from the network and clean validation images alone. Test and triggered images are only
evaluated, elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.module import Network
from ytf_torch.progress import Track


@dataclass(frozen=True)
class Candidate:
    """A repaired network B′.

    name: distinguishes it from the other candidates of its repair, such as "drop2".
    history: what was done to B, one sentence for each step.
    """

    name: str
    network: Network
    history: tuple[str, ...]

    def checkpoint(self, badnet: Checkpoint) -> Checkpoint:
        """B′ as a checkpoint, with B's provenance followed by this candidate's history."""
        return Checkpoint(self.network, badnet.provenance.then(*self.history))


class Ranking(Protocol):
    """Orders the channels of a convolution for pruning."""

    def scores(
        self, network: Network, layer: str, clean_valid: ImageSet, track: Track
    ) -> Sequence[float]:
        """One score for each channel of `layer`, lowest pruned first; ties are broken by index."""
        ...


class Repair(Protocol):
    """Makes repaired networks from a backdoored one."""

    def candidates(
        self, network: Network, clean_valid: ImageSet, track: Track
    ) -> Iterator[Candidate]:
        """Yield repaired networks, in evaluation mode. `network` itself is not modified."""
        ...


class Detector(Protocol):
    """Scores how suspicious images are."""

    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """(batch, C, H, W), pixel values 0–255 → (batch,); higher is more suspicious, NaN where
        the logits of a network are not finite.

        candidate: a repaired network, for detectors that compare B with it.
        """
        ...


@dataclass(frozen=True)
class ReversedTrigger:
    """A reverse-engineered trigger: triggered = (1 − mask) · image + mask · pattern.

    mask: (H, W), 0–1. pattern: (C, H, W), pixel values 0–255. reached: percent of the clean
    validation images, 0–100, that the network assigns to the class once they carry the trigger.
    """

    mask: Tensor
    pattern: Tensor
    reached: float


@dataclass(frozen=True)
class Suspicions:
    """A scan's result: how suspicious each class is as a backdoor's target. A low anomaly is no
    evidence that there is no backdoor.

    anomaly: by class, its anomaly score; higher is more suspicious. threshold: the authors of the
    scan call a class above it a target. triggers: by class, where the scan reverse-engineers them.
    examined: the classes that were examined in full, where there were too many for all; None for
    all. The others have anomaly 0.
    """

    anomaly: tuple[float, ...]
    threshold: float
    triggers: Mapping[int, ReversedTrigger] = field(default_factory=dict)
    examined: tuple[int, ...] | None = None

    @property
    def candidates(self) -> tuple[int, ...]:
        """Classes above the threshold, most suspicious first."""
        above = [c for c, score in enumerate(self.anomaly) if score > self.threshold]
        return tuple(sorted(above, key=lambda c: -self.anomaly[c]))


class Scan(Protocol):
    """Looks for a backdoor's target class without triggered images."""

    def suspicions(self, network: Network, clean_valid: ImageSet, track: Track) -> Suspicions:
        """Score every class, from the network and clean validation images alone."""
        ...
