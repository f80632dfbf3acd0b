"""Recognise networks that end like DeepID: the last maps reach the hidden units by two paths."""

from __future__ import annotations

from dataclasses import dataclass

from ytf_torch.layers.add import Add
from ytf_torch.network.graph import Graph
from ytf_torch.network.pruned_layer import maps_of


@dataclass(frozen=True)
class Fork:
    """The end of a network whose last maps reach the hidden units by two paths:
    `logits = output(relu(direct(maps) + further(convolution(maps))))`.

    maps: name of a pooling layer or convolution. direct, further, output: names of dense layers.
    """

    maps: str
    direct: str
    convolution: str
    further: str
    output: str


def fork_of(graph: Graph) -> Fork | None:
    """The fork at the end of a network; None where the network has another structure.

    >>> from ytf_torch.network.fork import fork_of
    >>> fork_of(network.graph)
    Fork(maps='pool_3', direct='fc_1', convolution='conv_4', further='fc_2', output='output')
    """
    for convolution in graph.convolutions:
        if not _is_plain(graph, convolution):
            continue
        further = graph.linear_readers(convolution)
        (maps,) = graph[convolution].inputs
        direct = tuple(name for name in graph.linear_readers(maps) if name != convolution)
        if len(further) != 1 or len(direct) != 1 or maps_of(graph, convolution) != convolution:
            continue
        if not all(
            _is_dense(graph, name, flat)
            for name, flat in ((direct[0], maps), (further[0], convolution))
        ):
            continue
        sums = {graph.readers(name) for name in (*direct, *further)}
        if sums == {graph.readers(direct[0])} and _is_last_sum(graph, *graph.readers(direct[0])):
            return Fork(maps, direct[0], convolution, further[0], graph.output)
    return None


def _is_plain(graph: Graph, name: str) -> bool:
    """Whether a layer is an ordinary convolution with ReLU: stride 1, no padding, one group."""
    layer = graph[name]
    (maps,), shape = graph.input_shapes(name), graph.shapes[name]
    kernel, *bias = graph.weights(name)
    if len(kernel.shape) != 4 or len(bias) != 1 or layer.kind.activation.name != "relu":
        return False
    channels, channels_in, *size = kernel.shape
    output_size = (maps[1] - size[0] + 1, maps[2] - size[1] + 1)
    return layer.kind.linear and channels_in == maps[0] and shape == (channels, *output_size)


def _is_dense(graph: Graph, name: str, maps: str) -> bool:
    """Whether a layer is a linear dense layer on exactly the flattened values of these maps, in
    PyTorch's order C×H×W."""
    weights, kind = graph.weights(name), graph[name].kind
    if len(weights) != 2 or len(weights[0].shape) != 2 or kind.activation.name != "linear":
        return False
    (flat,) = graph[name].inputs
    flattened = getattr(graph.shapes[flat], "maps", None) == graph.shapes[maps]
    return flattened and graph[flat].inputs == (maps,)


def _is_last_sum(graph: Graph, *names: str) -> bool:
    """Whether `names` is a single Add of two layers, followed only by a ReLU and the last layer."""
    if len(names) != 1:
        return False
    last = graph[graph.output]
    total = graph[names[0]]
    if not isinstance(total.kind, Add) or len(total.inputs) != 2:
        return False
    if len(last.inputs) != 1 or len(graph.weights(last.name)) != 2:
        return False
    relu = graph[last.inputs[0]]
    ends = relu.kind.activation.name == "relu" and not graph.weights(relu.name)
    return ends and relu.inputs == names and graph.classes == graph.shapes[last.name][0]
