"""Last-layer outliers: a class whose weights in the last layer stand out."""

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
    """The mean weight of each class in the last layer with weights, as a deviation from others'.

    Needs no faces and no time.

    Source: Fields, Samragh, Javaheripi, Koushanfar, Javidi, "Trojan Signatures in DNN Weights"
    (ICCV workshops 2021). In place of Dixon's test, whose tables end at some 30 classes, deviations
    are measured by the median absolute deviation, and 3.5 of them count.
    """

    def __init__(self, *, threshold: float = 3.5) -> None:
        self.threshold = threshold

    def suspicions(self, network: Network, clean_valid: ImageSet, track: Track) -> Suspicions:
        """See Scan. Raises InputError where no single layer weighs up what speaks for a class."""
        with torch.inference_mode():
            means = class_kernels(network).mean((1, 2)).tolist()
        return Suspicions(tuple(deviations(means)), self.threshold)


def class_kernels(network: Network) -> Tensor:
    """What each class multiplies the features of the last layer but one by: (classes, features,
    places), float64; behind a single unit those of "no" are minus those of "yes".

    The last layer may be dense, or a convolution whose maps are pooled; a batch normalization
    behind it is multiplied in. Raises InputError for other networks.
    """
    graph = network.graph
    name, scale = graph.output, torch.ones((), dtype=torch.float64, device=network.device)
    while True:
        kind, inputs = graph[name].kind, graph.input_shapes(name)
        kernels = kind.kernels(network.weights_of(name))
        if kernels is not None and not kind.channelwise:
            break
        alone = len(inputs) == 1 and inputs[0][0] == graph.shapes[name][0]
        if not alone or (graph.weights(name) and kernels is None) or not graph[name].inputs:
            problem = f"its classes do not come from one layer of weights, found {name} on the way"
            remedy = f"Choose others with {argument('methods')}"
            raise InputError("the network, for the scan last-layer", problem, remedy)
        if kernels is not None:
            scale = scale * kernels.double()
        (name,) = graph[name].inputs
    found = kernels.detach().double() * scale
    return torch.cat([-found, found]) if len(found) == 1 else found
