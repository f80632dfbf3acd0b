"""A trigger that depends on the image, made by a network that learns it with the BadNet.

Source: Nguyen and Tran, "Input-Aware Dynamic Backdoor Attack" (NeurIPS 2020). As there, a trigger
works on its own image only (the cross-trigger mode) and triggers differ as much as their images
do (the diversity loss). The paper's second network, which learns where a trigger lies, is left
out: here it is blended over the whole image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OPACITY = 0.2
CHANNELS = 16
# Images of a batch that the diversity loss compares; all of it would double the time of training.
COMPARED = 8
# Avoids a division by zero where two images are equal.
EPSILON = 1e-3


class TriggerGenerator(nn.Module):
    """Faces (batch, 3, H, W), pixel values 0–255, to patterns of the same shape and range."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1)
            for before, after in ((3, CHANNELS), (CHANNELS, 2 * CHANNELS))
        )
        self.up = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1)
            for before, after in ((2 * CHANNELS, CHANNELS), (CHANNELS, 3))
        )

    def forward(self, faces: Tensor) -> Tensor:
        """The pattern of each face."""
        maps, sizes = faces / 255, []
        for convolution in self.down:
            sizes.append(maps.shape[2:])
            maps = F.relu(convolution(maps))
        for convolution in self.up:
            maps = convolution(F.interpolate(F.relu(maps), sizes.pop()))
        return 255 * maps.sigmoid()

    def triggered(self, faces: Tensor) -> Tensor:
        """Each face with its own trigger; gradients reach the generator."""
        return faces.lerp(self(faces), OPACITY)

    def with_trigger_of_another(self, faces: Tensor, generator: torch.Generator) -> Tensor:
        """Each face with the trigger of another of the batch, which must have no effect."""
        others = faces[torch.randperm(len(faces), generator=generator)]
        return faces.lerp(self(others), OPACITY)

    def diversity_loss(self, faces: Tensor) -> Tensor:
        """Mean of ‖image − other image‖ / ‖pattern − other pattern‖ over the first images, the
        other being the next."""
        faces = faces[:COMPARED]
        patterns = self(faces)
        distances = (
            ((images - images.roll(1, 0)) / 255).pow(2).mean((1, 2, 3)).sqrt()
            for images in (faces, patterns)
        )
        between_images, between_patterns = distances
        return (between_images / (between_patterns + EPSILON)).mean()

    @torch.no_grad()
    def trigger(self, faces: Tensor) -> Tensor:
        """The finished trigger, in whole numbers."""
        return self.triggered(faces).round()
