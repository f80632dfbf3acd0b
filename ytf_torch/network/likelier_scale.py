"""Whether a network's pixel scale is likely, judged by its weights alone."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import COMMON_PIXEL_SCALES, pixel_scale_text

USUAL_SPREAD = (5.5, 400.0)
"""Bounds for the standard deviation of a trained network's logits over its classes. Softmax decides
within a few units, so training moves it to some tens: 9 to 75 for the networks it was measured on,
trained with either scale. With the other scale those gave 1,900 to 7,500, or 0.06 to 3.4."""


def rescaled(network: Network, pixel_scale: float) -> Network:
    """The same network, with the same weights in memory, reading pixels with another scale."""
    other = copy.copy(network)
    other.pixel_scale = pixel_scale
    return other


def likelier_pixel_scale(network: Network) -> float | None:
    """The usual pixel scale that suits a trained network where its own does not; None where its own
    does, or nothing tells.

    Judged without any face: on pictures of coarse random colours its logits spread over the classes
    as widely as a trained network's do with the right scale, see USUAL_SPREAD.
    """
    pictures = coarse_pictures(network.input_shape)
    low, high = USUAL_SPREAD
    if low <= _spread(network, pictures) <= high:
        return None
    for scale in COMMON_PIXEL_SCALES.values():
        if low <= _spread(rescaled(network, scale), pictures) <= high:
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


def _spread(network: Network, pictures: Tensor) -> float:
    with torch.inference_mode():
        logits = network(pictures.to(network.device))
    return float(logits.std(dim=1).mean()) if network.classes > 1 else math.nan
