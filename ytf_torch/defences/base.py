"""What every ranking, repair, detector and scan is.

None of them sees anything but the network and clean validation faces. Test and triggered faces are
for measuring, elsewhere.
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

    name: what sets it apart from the other candidates of its repair, such as "drop2".
    history: what was done to B, one plain sentence a step.
    """

    name: str
    network: Network
    history: tuple[str, ...]

    def checkpoint(self, badnet: Checkpoint) -> Checkpoint:
        """B′ as a model to be saved: with B's provenance, and what was done to it as history."""
        return Checkpoint(self.network, badnet.provenance.then(*self.history))


class Ranking(Protocol):
    """Says which channels of a convolution go first."""

    def scores(
        self, network: Network, layer: str, clean_valid: ImageSet, track: Track
    ) -> Sequence[float]:
        """One score for each channel of `layer`; lower goes first, ties go by index."""
        ...


class Repair(Protocol):
    """Makes repaired networks from a backdoored one."""

    def candidates(
        self, network: Network, clean_valid: ImageSet, track: Track
    ) -> Iterator[Candidate]:
        """Repaired networks, in evaluation mode; `network` itself is left as it is."""
        ...


class Detector(Protocol):
    """Says how suspicious faces are."""

    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """(batch, 3, H, W), pixel values 0–255 → (batch,); higher is more suspicious, NaN where
        the logits of a network are not finite.

        candidate: a repaired network, for detectors that compare B with it.
        """
        ...


@dataclass(frozen=True)
class ReversedTrigger:
    """A trigger that was looked for: where a face is covered, and by what.

    mask: (H, W), 0–1, 1 where the pattern replaces the face. pattern: (3, H, W), pixel values
    0–255. reached: the share of clean validation faces, 0–100, that it sends to the class.
    """

    mask: Tensor
    pattern: Tensor
    reached: float


@dataclass(frozen=True)
class Suspicions:
    """What a scan says of each class as a backdoor's target; it never says that there is none.

    anomaly: by class, how far it stands out from the others; higher is more suspicious. threshold:
    above which the scan's authors call a class a target. triggers: by class, where any was sought.
    """

    anomaly: tuple[float, ...]
    threshold: float
    triggers: Mapping[int, ReversedTrigger] = field(default_factory=dict)

    @property
    def candidates(self) -> tuple[int, ...]:
        """Classes above the threshold, the most suspicious first."""
        above = [c for c, score in enumerate(self.anomaly) if score > self.threshold]
        return tuple(sorted(above, key=lambda c: -self.anomaly[c]))


class Scan(Protocol):
    """Looks for a backdoor's target without triggered faces."""

    def suspicions(self, network: Network, clean_valid: ImageSet, track: Track) -> Suspicions:
        """What the network and clean validation faces alone tell of each class."""
        ...
