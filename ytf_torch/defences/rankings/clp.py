"""Channel Lipschitzness (CLP): channels whose kernels amplify their input most go first."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track


class ChannelLipschitz:
    """Minus the largest singular value of a channel's kernel; needs no faces.

    The kernel counts as a matrix of input channels × positions, and its largest singular value as
    an upper bound of the channel's Lipschitz constant. The layers of DeepID have no batch
    normalisation, whose scale the source multiplies in.

    Source: Zheng, Tang, Li, Liu, "Data-free Backdoor Removal based on Channel Lipschitzness"
    (ECCV 2022).
    """

    def scores(
        self, network: Network, layer: str, clean_valid: ImageSet, track: Track
    ) -> Sequence[float]:
        """See Ranking."""
        kernels = network.convolution(layer).weight.detach().double().flatten(2)
        largest: list[float] = (-torch.linalg.matrix_norm(kernels, ord=2)).tolist()
        return largest
