"""The kernels of a layer's channels, and the layers that scale each channel."""

from __future__ import annotations

from torch import Tensor

from ytf_torch.errors import CannotRepairError
from ytf_torch.network.graph import Graph
from ytf_torch.network.module import Network
from ytf_torch.network.pruned_layer import channel_path


def kernels_of(network: Network, layer: str) -> Tensor:
    """The kernel of each channel: (channels, input channels, positions), float64.

    Raises CannotRepairError if the layer has no kernels.
    """
    kernels = network.graph[layer].kind.kernels(network.weights_of(layer))
    if kernels is None:
        problem = f"{layer} has no kernels to rank its channels by"
        raise CannotRepairError("the network", problem, "Choose a method that looks at activations")
    return kernels.detach().double()


def channel_chain(graph: Graph, layer: str) -> tuple[str, ...]:
    """The layers with weights on the path of a channel of `layer` on which it is not mixed with
    others: from the layer that computes it, such as a convolution, to the last batch
    normalization."""
    before: list[str] = []
    name = layer
    while graph[name].kind.channelwise and len(graph[name].inputs) == 1:
        name = graph[name].inputs[0]
        if len(graph.readers(name)) > 1 or not graph[name].inputs:
            break
        before.insert(0, name)
    return tuple(name for name in (*before, *channel_path(graph, layer)) if graph.weights(name))
