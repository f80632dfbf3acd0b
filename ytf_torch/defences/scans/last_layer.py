"""Last-layer outliers: a class whose weights in the last layer stand out."""

from __future__ import annotations

import torch
from torch import nn

from ytf_torch.defences.base import Suspicions
from ytf_torch.defences.scans.deviation import deviations
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track


class LastLayerOutliers:
    """The mean weight of each class in the last layer, as a deviation from the other classes'.

    Needs no faces and no time.

    Source: Fields, Samragh, Javaheripi, Koushanfar, Javidi, "Trojan Signatures in DNN Weights"
    (ICCV workshops 2021). In place of Dixon's test, whose tables end at some 30 classes, deviations
    are measured by the median absolute deviation, and 3.5 of them count.
    """

    def __init__(self, *, threshold: float = 3.5) -> None:
        self.threshold = threshold

    def suspicions(self, network: Network, clean_valid: ImageSet, track: Track) -> Suspicions:
        """See Scan. Raises ValueError where the network has no dense layer."""
        dense = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
        if not dense:
            raise ValueError("the network has no dense layer")
        with torch.inference_mode():
            means = dense[-1].weight.double().mean(1).tolist()
        return Suspicions(tuple(deviations(means)), self.threshold)
