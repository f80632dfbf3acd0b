"""Networks that read pixels in another way and answer as before."""

from __future__ import annotations

import torch

from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import KERAS_MODES, Preprocessing

PREPROCESSINGS = {
    **KERAS_MODES,
    "an offset alone": Preprocessing(offset=-12.5),
    "an order alone": Preprocessing(channel_order="bgr"),
    "all at once": Preprocessing((1 / 255, 0.5, 1 / 58), (-1, 0, 2.5), "bgr"),
}


def reading_as(network: Network, preprocessing: Preprocessing) -> Network:
    """The same function of pixels by a network with this preprocessing: its first layer, a DeepID's
    convolution without padding, takes up the difference to the pixel scale that it had."""
    state = {name: tensor.double() for name, tensor in network.state_dict().items()}
    read = torch.ones(network.input_shape[0], dtype=torch.float64)
    scale, offset = (read * torch.tensor(n) for n in (preprocessing.scale, preprocessing.offset))
    kernel = state["conv_1.weight"]
    if preprocessing.channel_order == "bgr":
        kernel = kernel.flip(1)
    kernel = kernel * (network.pixel_scale / scale)[:, None, None]
    state["conv_1.weight"] = kernel
    state["conv_1.bias"] = state["conv_1.bias"] - (kernel.sum((2, 3)) * offset).sum(1)
    own = {name: tensor.to(network.dtype) for name, tensor in state.items()}
    return Network.of_state(network.graph, own, preprocessing, "made")
