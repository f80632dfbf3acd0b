"""Mean activation: prune first the channels that are dormant on clean images."""

from __future__ import annotations

from collections.abc import Sequence

from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import rank_points
from ytf_torch.progress import Track
from ytf_torch.sweep.fast import fast_engine
from ytf_torch.sweep.passes import channel_activation


class MeanActivation:
    """score = mean of the channel's output over all clean validation images and positions.

    rank_at: the layer whose output is averaged, by default the pooling behind the convolution. The
    convolution itself can give another order.

    Source: Liu, Dolan-Gavitt and Garg, "Fine-Pruning" (RAID 2018).
    """

    def __init__(self, rank_at: str | None = None) -> None:
        self.rank_at = rank_at

    def scores(
        self, network: Network, layer: str, clean_valid: ImageSet, track: Track
    ) -> Sequence[float]:
        """See `Ranking.scores`."""
        rank_at = self.rank_at or rank_points(network.graph, layer)[0]
        return channel_activation(network, clean_valid, layer, rank_at, fast_engine, track)
