"""Plausibility check of a network's pixel scale, from its weights alone."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import COMMON_PIXEL_SCALES, pixel_scale_text
from ytf_torch.network.preprocessing import Preprocessing

COLOURS = 3
"""Channels of the images on which the bounds below were measured."""
USUAL_SPREAD = (3.0, 300.0)
"""Bounds on the spread of a trained network's logits: their standard deviation over the classes,
standardised by the last layer. Measured: 10 to 24 for the published and shared networks, trained
with either scale; with the wrong scale 3,800 to 5,700, or 0.2 to 1.3."""
LEAST_SPREAD, OWN_SHARE = 0.8, 0.65
"""A lower bound on the spread (distilled networks have 1.5), used where the image-dependent share
of the logits, as opposed to that of the biases, is at least OWN_SHARE. Measured shares: 0.81 to
0.85 for all those networks; 0.03 to 0.51 where pixel values are 255 times too small."""
LEAST_SHARE = 0.2
"""Least image-dependent share of the logits with which another scale is suggested. Measured: 0.41
or more for the published networks with their own scale; 0.06 for a random network with large biases
and the scale 1/255, whose logits hardly depend on the image."""


def with_preprocessing(network: Network, preprocessing: Preprocessing) -> Network:
    """A shallow copy of the network, sharing its weights, with another preprocessing."""
    other = copy.copy(network)
    other.pixel_preprocessing = preprocessing
    return other


def rescaled(network: Network, pixel_scale: float) -> Network:
    """A shallow copy of the network, sharing its weights, with another pixel scale."""
    return with_preprocessing(network, network.pixel_preprocessing.at(pixel_scale))


def likelier_pixel_scale(network: Network) -> float | None:
    """The common pixel scale that fits a trained network better than its own; None where its own is
    plausible, or this cannot be decided.

    Needs no data set: it looks at the logits on images of coarse random colours, standardised by
    the last kernel, because repairs and temperatures may scale the last layer without changing any
    prediction. Greyscale networks are never doubted: digit networks are trained on strokes on
    black, and a published one with the right scale failed this check.
    """
    if network.input_shape[0] < COLOURS or not network.pixel_preprocessing.only_scales:
        return None
    images = coarse_images(network.input_shape)
    last = _last_kernel(network)
    if last is None or len(last) < 2 or not last.std():
        return None
    if _is_usual(*_spread_and_share(network, images, last)):
        return None
    for scale in COMMON_PIXEL_SCALES.values():
        spread, share = _spread_and_share(rescaled(network, scale), images, last)
        if _is_usual(spread, share) and share >= LEAST_SHARE:
            return scale
    return None


def scale_doubt(network: Network, likelier: float) -> str:
    """The sentence for a warning about a network's pixel scale."""
    return (
        f"with {pixel_scale_text(network.pixel_scale)} its answers look like those of a network "
        f"that takes {pixel_scale_text(likelier)}"
    )


def coarse_images(input_shape: tuple[int, int, int]) -> Tensor:
    """32 images of blurred random colours, (32, channels, height, width), float values 0–255, with
    a fixed seed. input_shape: (channels, height, width)."""
    generator = torch.Generator().manual_seed(0)
    coarse = 255 * torch.rand(32, input_shape[0], 6, 5, generator=generator)
    return F.interpolate(coarse, input_shape[1:], mode="bicubic").clamp(0, 255)


def _last_kernel(network: Network) -> Tensor | None:
    """The kernel (units, inputs) of the last dense layer, skipping layers without weights after it;
    None where the last layer with weights is of another kind."""
    graph, name = network.graph, network.graph.output
    while not graph.weights(name) and len(graph[name].inputs) == 1:
        (name,) = graph[name].inputs
    for weight in graph.weights(name):
        if weight.start == "glorot" and len(weight.shape) == 2:
            return network.get_parameter(f"{name}.{weight.name}").detach()
    return None


def _spread_and_share(network: Network, images: Tensor, last: Tensor) -> tuple[float, float]:
    """Standardised spread of the logits over the classes, and their image-dependent share, 0 to 1.

    last: the kernel of the last dense layer, (units, inputs).
    spread: `mean(std(logits)) · sqrt(2 / (units + inputs)) / std(last)`, that is with a last kernel
    of Glorot's initial standard deviation; invariant to scaling the last layer's weights and
    biases.
    share: `‖c − mean_images(c)‖ / ‖c‖` with c = logits − mean_classes(logits).
    """
    standard = math.sqrt(2 / sum(last.shape)) / float(last.std())
    with torch.inference_mode():
        logits = network(images.to(network.device)).double()
    centred = logits - logits.mean(1, keepdim=True)
    share = float((centred - centred.mean(0)).norm() / centred.norm())
    return float(logits.std(1).mean()) * standard, share


def _is_usual(spread: float, share: float) -> bool:
    """Whether spread and share are typical of a trained network with the right pixel scale."""
    low, high = USUAL_SPREAD
    if share >= OWN_SHARE:
        low = LEAST_SPREAD
    return low <= spread <= high
