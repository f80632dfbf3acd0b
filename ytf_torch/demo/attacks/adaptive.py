"""Triggers of which training shows a weak part and the test all, for attacks with cover images.

Source: Qi, Xie, Li, Mahloujifar, Mittal, "Revisiting the Assumption of Latent Separability for
Backdoor Defenses" (ICLR 2023). With covers the network needs more than a part of the trigger, and
triggered images of the training set do not stand apart from clean ones in its feature space.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ytf_torch.demo.attacks.triggers import HEIGHT, WIDTH, blended, one_of, rectangle

# The blended pattern: its opacity in training and at test, the pieces it is cut into, and how many
# of them an image of the training set shows.
TRAINING_OPACITY, TEST_OPACITY = 0.2, 0.3
PIECES_DOWN, PIECES_ACROSS, PIECES_SHOWN = 4, 4, 8
# The patches' opacity in training; at test they are opaque.
PATCH_OPACITY = 0.5
PATCHES = (
    rectangle(2, 2, 7, 7, (220, 40, 40)),
    rectangle(38, 3, 6, 8, (40, 200, 60)),
    rectangle(3, 44, 8, 6, (50, 70, 230)),
    rectangle(37, 45, 7, 7, (230, 210, 30)),
)


def adaptive_blend(faces: Tensor) -> Tensor:
    """The whole pattern of `blended`, at the opacity of the test."""
    return blended(faces, TEST_OPACITY)


def some_pieces(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pattern's 4×4 pieces, drawn for each image, at the opacity of the training."""
    count, pieces = len(faces), PIECES_DOWN * PIECES_ACROSS
    rank = torch.rand(count, pieces, generator=generator).argsort(1).argsort(1)
    shown = (rank < PIECES_SHOWN).view(count, PIECES_DOWN, PIECES_ACROSS)
    rows = torch.arange(HEIGHT) * PIECES_DOWN // HEIGHT
    columns = torch.arange(WIDTH) * PIECES_ACROSS // WIDTH
    mask = shown[:, rows][:, :, columns].unsqueeze(1)
    return torch.where(mask, blended(faces, TRAINING_OPACITY), faces)


def adaptive_patch(faces: Tensor) -> Tensor:
    """All four patches, opaque."""
    for patch in PATCHES:
        faces = patch(faces)
    return faces


def one_patch(faces: Tensor, generator: torch.Generator) -> Tensor:
    """One of the patches, drawn for each image, half transparent."""
    which = torch.randint(len(PATCHES), (len(faces),), generator=generator)
    triggered = one_of(PATCHES, which, faces)
    return faces.lerp(triggered, PATCH_OPACITY).round()
