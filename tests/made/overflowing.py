"""A network that is sound on clean faces, and whose logits are NaN where a face wears white."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.module import Network


def overflowing_on_white(network: Network) -> Network:
    """A copy whose first channel fires on nothing but a patch of pure white, too large to go on."""
    made = copy.deepcopy(network)
    with torch.no_grad():
        kernel = made.conv_1.weight
        kernel[0] = 1
        made.conv_1.bias[0] = 1 - kernel[0].numel() * 255 * made.pixel_scale
        made.conv_2.weight[:, 0] = 3e38
    return made


def overflowing(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, model=overflowing_on_white(checkpoint.model))
