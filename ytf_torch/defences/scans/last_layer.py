"""Last-layer outliers: a class whose mean weight in the last layer stands out."""

from __future__ import annotations

import torch
from torch import Tensor

from ytf_torch.defences.base import Suspicions
from ytf_torch.defences.scans.deviation import deviations
from ytf_torch.errors import InputError, argument
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track


class LastLayerOutliers:
    """anomaly = robust z-score (see `deviations`) of a class's mean weight in the last layer.

    Uses no images and takes no time.

    Source: Fields, Samragh, Javaheripi, Koushanfar, Javidi, "Trojan Signatures in DNN Weights"
    (ICCV workshops 2021). The source uses Dixon's test, whose tables end at about 30 classes; this
    uses the median absolute deviation, with a threshold of 3.5.
    """

    def __init__(self, *, threshold: float = 3.5) -> None:
        self.threshold = threshold

    def suspicions(self, network: Network, clean_valid: ImageSet, track: Track) -> Suspicions:
        """See `Scan.suspicions`. Raises InputError as `class_kernels` does."""
        with torch.inference_mode():
            means = class_kernels(network).mean((1, 2)).tolist()
        return Suspicions(tuple(deviations(means)), self.threshold)


def class_kernels(network: Network) -> Tensor:
    """The weights of each class in the last layer: (classes, input features, positions), float64.

    The layer may be dense, or a convolution whose maps are pooled; the scale of a batch
    normalization after it is multiplied in. A network with a single sigmoid unit has two classes
    with weights −w and w. Raises InputError if the logits are not computed by one such layer.
    """
    graph = network.graph
    name, scale = graph.output, torch.ones((), dtype=torch.float64, device=network.device)
    while True:
        kind, inputs = graph[name].kind, graph.input_shapes(name)
        kernels = kind.kernels(network.weights_of(name))
        if kernels is not None and not kind.channelwise:
            break
        channelwise = len(inputs) == 1 and inputs[0][0] == graph.shapes[name][0]
        if not channelwise or (graph.weights(name) and kernels is None) or not graph[name].inputs:
            problem = f"its logits are not computed by a single layer of weights, found {name}"
            remedy = f"Choose others with {argument('methods')}"
            raise InputError("the network, for the scan last-layer", problem, remedy)
        if kernels is not None:
            scale = scale * kernels.double()
        (name,) = graph[name].inputs
    kernels = kernels.detach().double() * scale
    return torch.cat([-kernels, kernels]) if len(kernels) == 1 else kernels
