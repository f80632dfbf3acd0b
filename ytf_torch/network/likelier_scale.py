"""Whether a network's pixel scale is likely, judged by its weights alone."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import COMMON_PIXEL_SCALES, pixel_scale_text

COLOURS = 3
"""Channels of the pictures by which networks were measured for the bounds that follow."""
USUAL_SPREAD = (3.0, 300.0)
"""Bounds for the standard deviation of a trained network's standardised logits over its classes:
10 to 24 for the published and shared networks, trained with either scale. With the other scale
those give 3,800 to 5,700, or 0.2 to 1.3."""
LEAST_SPREAD, OWN_SHARE = 0.8, 0.65
"""It may be less, 1.5 for networks that distillation trained, where pictures and not biases make up
this share of the logits: 0.81 to 0.85 for all those networks; where pixel values are 255 times too
small, 0.03 to 0.51."""
PICTURES_MATTER = 0.2
"""A scale is likelier only where pictures make up at least this share of the logits: 0.41 or more
for the published networks with their own scale. With 1/255, 0.06 for a random network with large
biases, whose answers hardly depend on the picture then."""


def rescaled(network: Network, pixel_scale: float) -> Network:
    """The same network, with the same weights in memory, reading pixels with another scale."""
    other = copy.copy(network)
    other.pixel_scale = pixel_scale
    return other


def likelier_pixel_scale(network: Network) -> float | None:
    """The usual pixel scale that suits a trained network where its own does not; None where its own
    does, or nothing tells.

    Judged without any face, on pictures of coarse random colours, by what reaches its last layer:
    that layer itself may be scaled at will, as repairs and temperatures do, without any other
    answer. Of networks that read grey pictures nothing tells: those of digits see strokes on black,
    and a published one was doubted with its right scale.
    """
    if network.input_shape[0] < COLOURS or not network.pixel_preprocessing.only_scales:
        return None
    pictures = coarse_pictures(network.input_shape)
    last = _last_kernel(network)
    if last is None or len(last) < 2 or not last.std():
        return None
    if _is_usual(*_spread_and_share(network, pictures, last)):
        return None
    for scale in COMMON_PIXEL_SCALES.values():
        spread, share = _spread_and_share(rescaled(network, scale), pictures, last)
        if _is_usual(spread, share) and share >= PICTURES_MATTER:
            return scale
    return None


def scale_doubt(network: Network, likelier: float) -> str:
    """Why a network's pixel scale is doubted, in words."""
    return (
        f"with {pixel_scale_text(network.pixel_scale)} its answers look like those of a network "
        f"that takes {pixel_scale_text(likelier)}"
    )


def coarse_pictures(input_shape: tuple[int, int, int]) -> Tensor:
    """32 pictures of blurred random colours, (32, 3, height, width), 0–255; always the same."""
    generator = torch.Generator().manual_seed(0)
    coarse = 255 * torch.rand(32, input_shape[0], 6, 5, generator=generator)
    return F.interpolate(coarse, input_shape[1:], mode="bicubic").clamp(0, 255)


def _last_kernel(network: Network) -> Tensor | None:
    """The kernel (units, inputs) of the dense layer that gives the logits, but for layers without
    weights behind it; None where another one gives them."""
    graph, name = network.graph, network.graph.output
    while not graph.weights(name) and len(graph[name].inputs) == 1:
        (name,) = graph[name].inputs
    for weight in graph.weights(name):
        if weight.start == "glorot" and len(weight.shape) == 2:
            return network.get_parameter(f"{name}.{weight.name}").detach()
    return None


def _spread_and_share(network: Network, pictures: Tensor, last: Tensor) -> tuple[float, float]:
    """The standard deviation over the classes of a network's logits for pictures, and the share of
    them that differs between pictures, 0 to 1.

    Scaling the last layer, weights and biases, changes nothing here: its weights are brought to
    Glorot's spread, with which training begins. last: its kernel.
    """
    standard = math.sqrt(2 / sum(last.shape)) / float(last.std())
    with torch.inference_mode():
        logits = network(pictures.to(network.device)).double()
    centred = logits - logits.mean(1, keepdim=True)
    share = float((centred - centred.mean(0)).norm() / centred.norm())
    return float(logits.std(1).mean()) * standard, share


def _is_usual(spread: float, share: float) -> bool:
    """Whether logits are those of a trained network that reads pictures with its own scale."""
    low, high = USUAL_SPREAD
    if share >= OWN_SHARE:
        low = LEAST_SPREAD
    return low <= spread <= high
