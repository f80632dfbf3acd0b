"""Channel Lipschitzness (CLP): channels whose kernels amplify their input most go first."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ytf_torch.defences.rankings.kernels import channel_chain, kernels_of
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track


class ChannelLipschitz:
    """Minus the largest singular value of a channel's kernel; needs no faces.

    The kernel counts as a matrix of input channels × positions, and its largest singular value as
    an upper bound of the channel's Lipschitz constant. The scale of a batch normalization, and all
    else that multiplies the channel alone, is multiplied in, as the source does.

    Source: Zheng, Tang, Li, Liu, "Data-free Backdoor Removal based on Channel Lipschitzness"
    (ECCV 2022).
    """

    def scores(
        self, network: Network, layer: str, clean_valid: ImageSet, track: Track
    ) -> Sequence[float]:
        """See Ranking. Raises CannotRepairError where the layer has no kernels."""
        largest = torch.linalg.matrix_norm(kernels_of(network, layer), ord=2)
        for name in channel_chain(network.graph, layer):
            kernels = network.graph[name].kind.kernels(network.weights_of(name))
            if name != layer and kernels is not None:
                largest = largest * torch.linalg.matrix_norm(kernels.double(), ord=2)
        scores: list[float] = (-largest).tolist()
        return scores
