"""Channel Lipschitzness (CLP): prune first the channels with the largest Lipschitz bound."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ytf_torch.defences.rankings.kernels import channel_chain, kernels_of
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track


class ChannelLipschitz:
    """score = −Π σ_max(W), the negated upper bound of the channel's Lipschitz constant.

    The product runs over the layers of `channel_chain`. W is the channel's kernel there as a matrix
    (input channels, positions), σ_max its largest singular value; of a batch normalization it is
    |scale|, which the source multiplies in as well. Uses no images.

    Source: Zheng, Tang, Li, Liu, "Data-free Backdoor Removal based on Channel Lipschitzness"
    (ECCV 2022).
    """

    def scores(
        self, network: Network, layer: str, clean_valid: ImageSet, track: Track
    ) -> Sequence[float]:
        """See `Ranking.scores`. Raises CannotRepairError if the layer has no kernels."""
        bounds = torch.linalg.matrix_norm(kernels_of(network, layer), ord=2)
        for name in channel_chain(network.graph, layer):
            kernels = network.graph[name].kind.kernels(network.weights_of(name))
            if name != layer and kernels is not None:
                bounds = bounds * torch.linalg.matrix_norm(kernels.double(), ord=2)
        scores: list[float] = (-bounds).tolist()
        return scores
