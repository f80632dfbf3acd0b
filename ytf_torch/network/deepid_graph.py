"""DeepID's layers as data, without PyTorch: see graph.py for what a graph tells."""

from __future__ import annotations

from ytf_torch.network.graph import Graph, Layer

DEEPID = Graph(
    (
        Layer("input", "input"),
        Layer("conv_1", "convolution", ("input",)),
        Layer("pool_1", "pool", ("conv_1",)),
        Layer("conv_2", "convolution", ("pool_1",)),
        Layer("pool_2", "pool", ("conv_2",)),
        Layer("conv_3", "convolution", ("pool_2",)),
        Layer("pool_3", "pool", ("conv_3",)),
        Layer("flatten_1", "flatten", ("pool_3",)),
        Layer("fc_1", "dense", ("flatten_1",)),
        Layer("conv_4", "convolution", ("pool_3",)),
        Layer("flatten_2", "flatten", ("conv_4",)),
        Layer("fc_2", "dense", ("flatten_2",)),
        Layer("add_1", "add", ("fc_1", "fc_2")),
        Layer("activation_1", "relu", ("add_1",)),
        Layer("output", "dense", ("activation_1",)),
    )
)
