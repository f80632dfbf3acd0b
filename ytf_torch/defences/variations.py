"""Few faces made into many: moved, lit otherwise, mixed with one another, covered in part.

Every number is drawn by a generator on the CPU, so that all devices see the same faces. Faces are
(batch, channels, H, W), pixel values 0–255, in floating point.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

BEND_POINTS = (5, 4)
# Shares of a face, in units in which it is 2 high and 2 wide.
SHIFT, BEND, SHEAR = 0.07, 0.05, 0.06
TURN, SIZE = 0.12, (0.9, 1.08)


def moved(faces: Tensor, generator: Generator, *, mirror: bool = True) -> Tensor:
    """Each face shifted, turned, resized, sheared, bent a little, and every other one mirrored.

    mirror: False for pictures that mean something else when mirrored, such as digits.
    """
    count = len(faces)
    turn, size = _each(generator, count, -TURN, TURN), _each(generator, count, *SIZE)
    stretch, shear = (_each(generator, count, -SHEAR, SHEAR) for _ in range(2))
    right, down = (_each(generator, count, -SHIFT, SHIFT) for _ in range(2))
    # Drawn in any case: the numbers after it are the same ones.
    side = torch.where((_each(generator, count) < 0.5) & mirror, -1.0, 1.0)
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
    bend = bend * _each(generator, count)
    bent = F.interpolate(bend, faces.shape[2:], mode="bicubic", align_corners=True)
    grid = (grid + bent.permute(0, 2, 3, 1)).to(faces)
    return F.grid_sample(faces, grid, padding_mode="border", align_corners=False)


def lit(faces: Tensor, generator: Generator, amount: float = 1.0) -> Tensor:
    """Each face brighter or darker, as a whole and from side to side, with a little noise."""
    count = len(faces)
    across, down = (place.to(faces) for place in _coordinates(faces))

    def each(most: float) -> Tensor:
        return _each(generator, count, -most * amount, most * amount).to(faces)

    light = 1 + each(0.25) + each(0.2) * across + each(0.2) * down
    noise = torch.randn(faces.shape, generator=generator).to(faces) * each(3)
    # Written over where nobody else reads it: memory for so much is slow to get.
    return (faces * light).add_(each(12)).add_(noise).clamp_(0, 255)


def mixed(faces: Tensor, generator: Generator, share: float) -> tuple[Tensor, Tensor]:
    """A share of the faces mixed with others of the batch: half of those blended, the other half
    with a piece of the other face pasted in. Also says which were left alone (batch,)."""
    count = len(faces)
    others = faces[torch.randperm(count, generator=generator).to(faces.device)]
    draw = _each(generator, count)
    blend = torch.where(draw < share / 2, _each(generator, count, 0.25, 0.75), 0.0)
    pasted = (draw >= share / 2) & (draw < share) & _boxes(faces, generator, 0.2, 0.7)
    weight = torch.where(pasted, 1.0, blend).to(faces)
    return faces.lerp(others, weight), (draw >= share).flatten().to(faces.device)


def covered(faces: Tensor, generator: Generator, share: float) -> Tensor:
    """A share of the faces under what a trigger might be: patches, strokes, ellipses, glasses,
    waves, or another texture laid over the whole face; each kind equally often."""
    draw = torch.rand(len(faces), generator=generator)
    found = faces.clone()
    for kind, cover in enumerate(COVERS):
        low, high = (share * edge / len(COVERS) for edge in (kind, kind + 1))
        chosen = ((draw >= low) & (draw < high)).nonzero().flatten().to(faces.device)
        if len(chosen):
            found[chosen] = cover(faces[chosen], generator).clamp(0, 255)
    return found


def _patches(faces: Tensor, generator: Generator) -> Tensor:
    large = _each(generator, len(faces)) < 0.25
    mask = _boxes(faces, generator, 0.05, 0.25)
    mask = torch.where(large, _boxes(faces, generator, 0.25, 0.6), mask)
    for _ in range(2):
        more = _each(generator, len(faces)) < 0.4
        mask = mask | (_boxes(faces, generator, 0.05, 0.22) & more)
    return torch.where(mask.to(faces.device), _paint(faces, generator), faces)


def _strokes(faces: Tensor, generator: Generator) -> Tensor:
    across, down = _coordinates(faces)
    count = len(faces)
    mask = torch.zeros((), dtype=torch.bool)
    for _ in range(2):
        upright = _each(generator, count) < 0.25
        angle = _each(generator, count, -0.5, 0.5) + upright * math.pi / 2
        x, y = (
            across - _each(generator, count, -0.6, 0.6),
            down - _each(generator, count, -0.9, 0.9),
        )
        thickness, length = _each(generator, count, 0.03, 0.14), _each(generator, count, 0.3, 1.2)
        beside = (y * angle.cos() - x * angle.sin()).abs() < thickness
        mask = mask | (beside & ((x * angle.cos() + y * angle.sin()).abs() < length))
    return torch.where(mask.to(faces.device), _paint(faces, generator), faces)


def _ellipses(faces: Tensor, generator: Generator) -> Tensor:
    across, down = _coordinates(faces)
    count = len(faces)
    pair = _each(generator, count) < 0.5
    x, y = _each(generator, count, -0.7, 0.7), _each(generator, count, -0.8, 0.8)
    x = torch.where(pair, x.abs().clamp(0.2, 0.6), x)
    width, height = _each(generator, count, 0.1, 0.4), _each(generator, count, 0.08, 0.35)

    def ellipse(middle: Tensor) -> Tensor:
        return ((across - middle) / width) ** 2 + ((down - y) / height) ** 2 < 1

    mask = ellipse(x) | (ellipse(-x) & pair)
    return torch.where(mask.to(faces.device), _paint(faces, generator), faces)


def glasses(faces: Tensor, generator: Generator) -> Tensor:
    """Two lenses, round to square, at one height, with a frame across; every other pair dark."""
    across, down = _coordinates(faces)
    count = len(faces)
    aside, y = _each(generator, count, 0.25, 0.55), _each(generator, count, -0.7, 0.3)
    width, height = _each(generator, count, 0.15, 0.35), _each(generator, count, 0.08, 0.3)
    roundness = _each(generator, count, 2, 6)
    lens = ((across.abs() - aside) / width).abs() ** roundness
    mask = lens + ((down - y) / height).abs() ** roundness < 1
    bridge = y + _each(generator, count, -0.5, 0.2) * height
    frame = (down - bridge).abs() < _each(generator, count, 0.0, 0.07)
    mask = mask | (frame & (across.abs() < aside + width * _each(generator, count, 0.0, 1.6)))
    dark = torch.where(_each(generator, count) < 0.5, _each(generator, count, 0.0, 0.5), 1.0)
    opacity = _each(generator, count, 0.7, 1.2).clamp_max(1) * mask
    return faces.lerp(_paint(faces, generator) * dark.to(faces), opacity.to(faces))


def _waves(faces: Tensor, generator: Generator) -> Tensor:
    across, down = _coordinates(faces)
    count = len(faces)
    angle, cycles = _each(generator, count, 0, math.pi), _each(generator, count, 1, 12)
    start, height = _each(generator, count, 0, 2 * math.pi), _each(generator, count, 5, 45)
    along = across * angle.cos() + down * angle.sin()
    wave = (math.pi * cycles * along + start).sin() * height
    colour = torch.randn(count, faces.shape[1], 1, 1, generator=generator)
    grey = _each(generator, count) < 0.6
    return faces + (wave * torch.where(grey, 1.0, colour)).to(faces)


def _textures(faces: Tensor, generator: Generator) -> Tensor:
    count = len(faces)
    speckled = torch.rand(faces.shape, generator=generator) * 255
    fine = _each(generator, count) < 0.3
    texture = torch.where(fine, speckled, _smooth(faces, generator)).to(faces)
    return faces.lerp(texture, _each(generator, count, 0.08, 0.4).to(faces))


COVERS: tuple[Callable[[Tensor, Generator], Tensor], ...] = (
    _patches,
    _strokes,
    _ellipses,
    glasses,
    _waves,
    _textures,
)


def _paint(faces: Tensor, generator: Generator) -> Tensor:
    """One colour for each face, or a smooth texture."""
    colour = torch.rand(*faces.shape[:2], 1, 1, generator=generator) * 255
    plain = _each(generator, len(faces)) < 0.5
    return torch.where(plain, colour, _smooth(faces, generator)).to(faces)


def _smooth(faces: Tensor, generator: Generator) -> Tensor:
    points = int(torch.randint(3, 20, (), generator=generator))
    coarse = torch.randn(*faces.shape[:2], points, points, generator=generator) * 90 + 128
    return F.interpolate(coarse, faces.shape[2:], mode="bilinear").clamp(0, 255)


def _boxes(faces: Tensor, generator: Generator, least: float, most: float) -> Tensor:
    """(batch, 1, H, W), true in one box a face; least, most: half its height and width."""
    across, down = _coordinates(faces)
    count = len(faces)
    half_height, half_width = (_each(generator, count, least, most) for _ in range(2))
    y, x = (_each(generator, count, -1, 1) for _ in range(2))
    return ((down - y).abs() < half_height) & ((across - x).abs() < half_width)


def _coordinates(faces: Tensor) -> tuple[Tensor, Tensor]:
    """How far right (1, 1, 1, W) and how far down (1, 1, H, 1) each place is, −1…1."""
    height, width = faces.shape[2:]
    return torch.linspace(-1, 1, width).view(1, 1, 1, -1), torch.linspace(-1, 1, height).view(
        1, 1, -1, 1
    )


def _each(generator: Generator, count: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """One number for each face, (count, 1, 1, 1)."""
    return torch.rand(count, 1, 1, 1, generator=generator) * (high - low) + low
