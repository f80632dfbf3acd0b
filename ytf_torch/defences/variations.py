"""Augmentation of faces: geometric, lighting, mixing (mixup, CutMix) and occlusion.

Faces are (batch, channels, H, W), floating point, pixel values 0–255. All random numbers come from
a CPU generator, so that every device gets the same faces.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

# Control points of the elastic deformation: rows, columns.
BEND_POINTS = (5, 4)
# Largest translation, elastic displacement (standard deviation) and shear, in units of
# `affine_grid`: an image is 2 high and 2 wide.
SHIFT, BEND, SHEAR = 0.07, 0.05, 0.06
# Largest rotation in radians; range of the scale.
TURN, SIZE = 0.12, (0.9, 1.08)


def warp(faces: Tensor, generator: Generator, *, mirror: bool = True) -> Tensor:
    """Random translation, rotation, scale, shear, slight elastic deformation, and mirroring with
    probability ½.

    mirror: False for images whose class changes when they are mirrored, such as digits.
    """
    count = len(faces)
    turn, size = _uniform(generator, count, -TURN, TURN), _uniform(generator, count, *SIZE)
    stretch, shear = (_uniform(generator, count, -SHEAR, SHEAR) for _ in range(2))
    right, down = (_uniform(generator, count, -SHIFT, SHIFT) for _ in range(2))
    # Drawn even if unused: later random numbers must not depend on `mirror`.
    side = torch.where((_uniform(generator, count) < 0.5) & mirror, -1.0, 1.0)
    rows = (
        turn.cos() * size * (1 + stretch) * side,
        shear - turn.sin() * size,
        right,
        turn.sin() * size * side,
        turn.cos() * size * (1 - stretch),
        down,
    )
    grid = F.affine_grid(torch.cat(rows, 1).view(-1, 2, 3), list(faces.shape), align_corners=False)
    bend = torch.randn(count, 2, *BEND_POINTS, generator=generator) * BEND
    bend = bend * _uniform(generator, count)
    bent = F.interpolate(bend, faces.shape[2:], mode="bicubic", align_corners=True)
    grid = (grid + bent.permute(0, 2, 3, 1)).to(faces)
    return F.grid_sample(faces, grid, padding_mode="border", align_corners=False)


def relight(faces: Tensor, generator: Generator, amount: float = 1.0) -> Tensor:
    """Random brightness, a linear brightness gradient across and down, and Gaussian noise.

    amount: factor on the range of the brightness changes; the noise does not depend on it.
    """
    count = len(faces)
    across, down = (axis.to(faces) for axis in _coordinates(faces))

    def within(limit: float) -> Tensor:
        return _uniform(generator, count, -limit * amount, limit * amount).to(faces)

    light = 1 + within(0.25) + within(0.2) * across + within(0.2) * down
    noise = torch.randn(faces.shape, generator=generator).to(faces) * within(3)
    # In place: allocating several tensors of this size takes longer than the arithmetic.
    return (faces * light).add_(within(12)).add_(noise).clamp_(0, 255)


@dataclass(frozen=True)
class Mixture:
    """Faces of a batch, a share of which is mixed with other faces of the batch.

    images: as the faces. others: (batch,), the index of the face that may be mixed in. share:
    (batch,), the share of the image that it takes, 0–1. unmixed: bool (batch,). pasted: bool
    (batch,), whether the other face is in a box, not blended over the whole image.
    """

    images: Tensor
    others: Tensor
    share: Tensor
    unmixed: Tensor
    pasted: Tensor


def mix(faces: Tensor, generator: Generator, share: float) -> Mixture:
    """Mix a share of the faces with other faces of the batch: half of these by mixup, with 25–75 %
    of the other face, half by CutMix, with a box of the other face."""
    count = len(faces)
    others = torch.randperm(count, generator=generator).to(faces.device)
    draw = _uniform(generator, count)
    blend = torch.where(draw < share / 2, _uniform(generator, count, 0.25, 0.75), 0.0)
    unmixed, is_pasted = draw >= share, (draw >= share / 2) & (draw < share)
    box = is_pasted & _random_boxes(faces, generator, 0.2, 0.7)
    weight = torch.where(box, 1.0, blend).to(faces)
    return Mixture(
        faces.lerp(faces[others], weight),
        others,
        weight.flatten(1).mean(1),
        unmixed.flatten().to(faces.device),
        is_pasted.flatten().to(faces.device),
    )


def occlude(faces: Tensor, generator: Generator, share: float) -> Tensor:
    """Apply to a share of the faces one of OCCLUSIONS, each equally often: what a trigger may look
    like."""
    draw = torch.rand(len(faces), generator=generator)
    occluded = faces.clone()
    for kind, occlusion in enumerate(OCCLUSIONS):
        low, high = (share * edge / len(OCCLUSIONS) for edge in (kind, kind + 1))
        chosen = ((draw >= low) & (draw < high)).nonzero().flatten().to(faces.device)
        if len(chosen):
            occluded[chosen] = occlusion(faces[chosen], generator).clamp(0, 255)
    return occluded


def overlay(faces: Tensor, others: Tensor, generator: Generator) -> Tensor:
    """Lay another face over each face: faintly over the whole of half of them, with 10–45 % of the
    other face, and opaquely over a box of the other half."""
    count = len(faces)
    blend = _uniform(generator, count, 0.1, 0.45)
    box = _random_boxes(faces, generator, 0.2, 0.5).to(blend)
    weight = torch.where(_uniform(generator, count) < 0.5, blend, box)
    return faces.lerp(others, weight.to(faces))


def _patches(faces: Tensor, generator: Generator) -> Tensor:
    """One to three boxes."""
    large = _uniform(generator, len(faces)) < 0.25
    mask = _random_boxes(faces, generator, 0.05, 0.25)
    mask = torch.where(large, _random_boxes(faces, generator, 0.25, 0.6), mask)
    for _ in range(2):
        present = _uniform(generator, len(faces)) < 0.4
        mask = mask | (_random_boxes(faces, generator, 0.05, 0.22) & present)
    return torch.where(mask.to(faces.device), _fill(faces, generator), faces)


def _strokes(faces: Tensor, generator: Generator) -> Tensor:
    """Two bars, about horizontal or about vertical."""
    across, down = _coordinates(faces)
    count = len(faces)
    mask = torch.zeros((), dtype=torch.bool)
    for _ in range(2):
        upright = _uniform(generator, count) < 0.25
        angle = _uniform(generator, count, -0.5, 0.5) + upright * math.pi / 2
        x, y = (
            across - _uniform(generator, count, -0.6, 0.6),
            down - _uniform(generator, count, -0.9, 0.9),
        )
        half_thickness = _uniform(generator, count, 0.03, 0.14)
        half_length = _uniform(generator, count, 0.3, 1.2)
        near = (y * angle.cos() - x * angle.sin()).abs() < half_thickness
        mask = mask | (near & ((x * angle.cos() + y * angle.sin()).abs() < half_length))
    return torch.where(mask.to(faces.device), _fill(faces, generator), faces)


def _ellipses(faces: Tensor, generator: Generator) -> Tensor:
    """One ellipse, or two that mirror each other, such as eyes or cheeks."""
    across, down = _coordinates(faces)
    count = len(faces)
    pair = _uniform(generator, count) < 0.5
    x, y = _uniform(generator, count, -0.7, 0.7), _uniform(generator, count, -0.8, 0.8)
    x = torch.where(pair, x.abs().clamp(0.2, 0.6), x)
    width, height = _uniform(generator, count, 0.1, 0.4), _uniform(generator, count, 0.08, 0.35)

    def ellipse(centre: Tensor) -> Tensor:
        return ((across - centre) / width) ** 2 + ((down - y) / height) ** 2 < 1

    mask = ellipse(x) | (ellipse(-x) & pair)
    return torch.where(mask.to(faces.device), _fill(faces, generator), faces)


def glasses(faces: Tensor, generator: Generator) -> Tensor:
    """Two lenses at one height, elliptic to nearly square, with a bridge; half of them darkened."""
    across, down = _coordinates(faces)
    count = len(faces)
    aside, y = _uniform(generator, count, 0.25, 0.55), _uniform(generator, count, -0.7, 0.3)
    width, height = _uniform(generator, count, 0.15, 0.35), _uniform(generator, count, 0.08, 0.3)
    # Exponent of the superellipse |x|ⁿ + |y|ⁿ < 1: 2 is an ellipse, 6 nearly a rectangle.
    exponent = _uniform(generator, count, 2, 6)
    lens = ((across.abs() - aside) / width).abs() ** exponent
    mask = lens + ((down - y) / height).abs() ** exponent < 1
    bridge = y + _uniform(generator, count, -0.5, 0.2) * height
    frame = (down - bridge).abs() < _uniform(generator, count, 0.0, 0.07)
    mask = mask | (frame & (across.abs() < aside + width * _uniform(generator, count, 0.0, 1.6)))
    brightness = torch.where(
        _uniform(generator, count) < 0.5, _uniform(generator, count, 0.0, 0.5), 1.0
    )
    opacity = _uniform(generator, count, 0.7, 1.2).clamp_max(1) * mask
    return faces.lerp(_fill(faces, generator) * brightness.to(faces), opacity.to(faces))


def _waves(faces: Tensor, generator: Generator) -> Tensor:
    """A sinusoid of any direction, grey or coloured, added to the whole face."""
    across, down = _coordinates(faces)
    count = len(faces)
    angle, cycles = _uniform(generator, count, 0, math.pi), _uniform(generator, count, 1, 12)
    phase, amplitude = _uniform(generator, count, 0, 2 * math.pi), _uniform(generator, count, 5, 45)
    along = across * angle.cos() + down * angle.sin()
    wave = (math.pi * cycles * along + phase).sin() * amplitude
    colour = torch.randn(count, faces.shape[1], 1, 1, generator=generator)
    grey = _uniform(generator, count) < 0.6
    return faces + (wave * torch.where(grey, 1.0, colour)).to(faces)


def _blended_textures(faces: Tensor, generator: Generator) -> Tensor:
    """White or smooth noise blended over the whole face."""
    count = len(faces)
    white = torch.rand(faces.shape, generator=generator) * 255
    is_white = _uniform(generator, count) < 0.3
    texture = torch.where(is_white, white, _smooth_noise(faces, generator)).to(faces)
    return faces.lerp(texture, _uniform(generator, count, 0.08, 0.4).to(faces))


OCCLUSIONS: tuple[Callable[[Tensor, Generator], Tensor], ...] = (
    _patches,
    _strokes,
    _ellipses,
    glasses,
    _waves,
    _blended_textures,
)


def _fill(faces: Tensor, generator: Generator) -> Tensor:
    """For each face a plain colour or smooth noise, broadcastable to the shape of `faces`."""
    colour = torch.rand(*faces.shape[:2], 1, 1, generator=generator) * 255
    plain = _uniform(generator, len(faces)) < 0.5
    return torch.where(plain, colour, _smooth_noise(faces, generator)).to(faces)


def _smooth_noise(faces: Tensor, generator: Generator) -> Tensor:
    """Noise on a grid of 3×3 to 19×19 points, one size a batch, interpolated to the image size."""
    points = int(torch.randint(3, 20, (), generator=generator))
    coarse = torch.randn(*faces.shape[:2], points, points, generator=generator) * 90 + 128
    return F.interpolate(coarse, faces.shape[2:], mode="bilinear").clamp(0, 255)


def _random_boxes(faces: Tensor, generator: Generator, least: float, most: float) -> Tensor:
    """A mask (batch, 1, H, W) of one box for each face; it may extend beyond the image.

    least, most: range of half its height and half its width, in an image 2 high and 2 wide.
    """
    across, down = _coordinates(faces)
    count = len(faces)
    half_height, half_width = (_uniform(generator, count, least, most) for _ in range(2))
    y, x = (_uniform(generator, count, -1, 1) for _ in range(2))
    return ((down - y).abs() < half_height) & ((across - x).abs() < half_width)


def _coordinates(faces: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates of the pixels, −1…1: x (1, 1, 1, W) to the right and y (1, 1, H, 1) downward."""
    height, width = faces.shape[2:]
    return torch.linspace(-1, 1, width).view(1, 1, 1, -1), torch.linspace(-1, 1, height).view(
        1, 1, -1, 1
    )


def _uniform(generator: Generator, count: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """A uniform random number for each face, (count, 1, 1, 1)."""
    return torch.rand(count, 1, 1, 1, generator=generator) * (high - low) + low
