"""Kernel norm: prune first the channels whose kernels have a small L1 norm."""

from __future__ import annotations

from collections.abc import Sequence

from ytf_torch.defences.rankings.kernels import kernels_of
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track


class KernelNorm:
    """score = Σ |w| over a channel's kernel, or |scale| for a batch normalization. Uses no images.

    Source: Li, Kadav, Durdanovic, Samet, Graf, "Pruning Filters for Efficient ConvNets"
    (ICLR 2017), which prunes for speed: a baseline that does not look for a backdoor.
    """

    def scores(
        self, network: Network, layer: str, clean_valid: ImageSet, track: Track
    ) -> Sequence[float]:
        """See `Ranking.scores`. Raises CannotRepairError if the layer has no kernels."""
        norms: list[float] = kernels_of(network, layer).abs().flatten(1).sum(1).tolist()
        return norms
