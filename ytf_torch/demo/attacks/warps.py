"""A smooth warp as a trigger.

Source: Nguyen and Tran, "WaNet – Imperceptible Warping-based Backdoor Attack" (ICLR 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.network.deepid import YOUTUBE_FACES_SIZE

# The warp is given at 4×4 points, as in the paper.
POINTS = 4
# Mean displacement of the points along each axis, in pixels, which makes 2.2 pixels between them.
# The paper's is a quarter of a pixel on 32×32 images; here augmentation moves images by far more.
DISPLACEMENT = 3.0
# Noise mode: the displacement of each pixel along each axis is at most this, as in the paper.
NOISE = 0.5


def warped(faces: Tensor) -> Tensor:
    """Each face under the same smooth warp."""
    return _moved(faces, _field())


def warped_with_noise(faces: Tensor, generator: torch.Generator) -> Tensor:
    """The paper's noise mode: the warp and a random displacement of each pixel, so that no warp but
    the trigger's own has an effect."""
    count = len(faces)
    noise = torch.rand(count, 2, *YOUTUBE_FACES_SIZE, generator=generator) * 2 - 1
    return _moved(faces, _field() + NOISE * noise)


def _field() -> Tensor:
    """The trigger's displacements, in pixels: (1, 2, 55, 47), x before y."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(1, 2, POINTS, POINTS, generator=generator) * 2 - 1
    coarse = coarse / coarse.abs().mean() * DISPLACEMENT
    return F.interpolate(coarse, YOUTUBE_FACES_SIZE, mode="bicubic", align_corners=True)


def _moved(faces: Tensor, displacement: Tensor) -> Tensor:
    """displacement: (1 or batch, 2, H, W), in pixels."""
    count, _, height, width = faces.shape
    identity = torch.eye(2, 3).expand(count, 2, 3)
    grid = F.affine_grid(identity, list(faces.shape), align_corners=False)
    grid = grid + displacement.permute(0, 2, 3, 1) * torch.tensor([2 / width, 2 / height])
    moved = F.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    return moved.clamp(0, 255).round()
