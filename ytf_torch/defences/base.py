"""What every ranking, repair and detector is: the three ways to defend a network.

None of them sees anything but the network and clean validation faces. Test and triggered faces are
for measuring, elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ytf_torch.faces.face_set import FaceSet
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


class Ranking(Protocol):
    """Says which channels of a convolution go first."""

    def scores(
        self, network: Network, layer: str, clean_valid: FaceSet, track: Track
    ) -> Sequence[float]:
        """One score for each channel of `layer`; lower goes first, ties go by index."""
        ...


class Repair(Protocol):
    """Makes repaired networks from a backdoored one."""

    def candidates(
        self, network: Network, clean_valid: FaceSet, track: Track
    ) -> Iterator[Candidate]:
        """Repaired networks, in evaluation mode; `network` itself is left as it is."""
        ...


class Detector(Protocol):
    """Says how suspicious faces are."""

    def scores(self, network: Network, candidate: Candidate | None, pixels: Tensor) -> Tensor:
        """(batch, 3, H, W), pixel values 0–255 → (batch,); higher is more suspicious.

        candidate: a repaired network, for detectors that compare B with it.
        """
        ...
