"""Ranking by kernel norm: channels whose kernels are small go first."""

from __future__ import annotations

from collections.abc import Sequence

from ytf_torch.defences.rankings.kernels import kernels_of
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track


class KernelNorm:
    """The sum of absolute values of a channel's kernel, which is its scale where the layer is a
    batch normalization; needs no faces.

    Source: Li, Kadav, Durdanovic, Samet, Graf, "Pruning Filters for Efficient ConvNets"
    (ICLR 2017), which prunes for speed; here a baseline that knows nothing of backdoors.
    """

    def scores(
        self, network: Network, layer: str, clean_valid: ImageSet, track: Track
    ) -> Sequence[float]:
        """See Ranking. Raises CannotRepairError where the layer has no kernels."""
        norms: list[float] = kernels_of(network, layer).abs().flatten(1).sum(1).tolist()
        return norms
