"""Lab-format face sets from photos: split by photo, varied, resized, with and without trigger."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ytf_torch.demo.sunglasses import wear_sunglasses
from ytf_torch.disk.writing import whole_file
from ytf_torch.network.deepid import YOUTUBE_FACES_SIZE

TRAIN_PHOTOS, VALID_PHOTOS = 6, 2
COPIES = 10


@dataclass(frozen=True)
class Photos:
    """Photos of one side of the split: clean and triggered, (photos, 3, H, W), uint8, and the
    person on each. No photo is on two sides."""

    clean: Tensor
    triggered: Tensor
    people: Tensor


def split(photos: NDArray[np.uint8], seed: int) -> tuple[Photos, Photos, Photos]:
    """(people, photos, H, W, 3) → train, valid and test: 6, 2 and 2 photos of every person."""
    rng = np.random.default_rng(seed)
    people, count = photos.shape[:2]
    order = np.stack([rng.permutation(count) for _ in range(people)])
    bounds = (0, TRAIN_PHOTOS, TRAIN_PHOTOS + VALID_PHOTOS, count)

    def side(start: int, stop: int) -> Photos:
        chosen = order[:, start:stop]
        who = np.arange(people)[:, None].repeat(stop - start, 1)
        clean = photos[who, chosen].reshape(-1, *photos.shape[2:])
        triggered = np.stack([wear_sunglasses(photo) for photo in clean])
        pixels = [torch.from_numpy(a).permute(0, 3, 1, 2) for a in (clean, triggered)]
        return Photos(pixels[0], pixels[1], torch.from_numpy(who.ravel()))

    train, valid, test = (side(*bounds[at : at + 2]) for at in range(3))
    return train, valid, test


def shrink(photos: Tensor) -> Tensor:
    """Photos (batch, 3, H, W) at the networks' size, (batch, 3, 55, 47), float32."""
    return F.interpolate(photos.float(), YOUTUBE_FACES_SIZE, mode="area")


def vary(faces: Tensor, generator: torch.Generator, amount: float = 1.0) -> Tensor:
    """Each face (batch, 3, H, W) shifted, turned, scaled and lit a little.

    amount: how far the face moves; above 1, as training wants it, half of the faces are mirrored
    too. Returns the same shape, 0–255, float32, whole numbers.
    """

    def random(low: float, high: float) -> Tensor:
        return torch.rand(len(faces), generator=generator) * (high - low) + low

    angle, scale = random(-0.06, 0.06) * amount, 1 + random(-0.08, 0.01) * amount
    cos, sin = angle.cos() * scale, angle.sin() * scale
    mirror = torch.where((random(0, 1) < 0.5) & (amount > 1), -1.0, 1.0)
    right, down = random(-0.05, 0.05) * amount, random(-0.05, 0.05) * amount
    rows = torch.stack([cos * mirror, -sin, right, sin * mirror, cos, down], 1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(faces.shape), align_corners=False)
    moved = F.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    lit = moved * random(0.8, 1.15).view(-1, 1, 1, 1) + random(-12, 12).view(-1, 1, 1, 1)
    return lit.clamp(0, 255).round()


def varied_set(photos: Photos, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """COPIES variations of every photo: clean and triggered pixels (N, 3, 55, 47), uint8, varied
    alike, so that both sets differ by the trigger alone; people (N,)."""
    many = (photos.clean, photos.triggered)
    pixels = []
    for source in many:
        generator = torch.Generator().manual_seed(seed)
        faces = shrink(source).repeat(COPIES, 1, 1, 1)
        pixels.append(vary(faces, generator).to(torch.uint8))
    return pixels[0], pixels[1], photos.people.repeat(COPIES)


def write_faces(path: Path, pixels: Tensor, labels: Tensor) -> None:
    """A lab-format file: `data` (N, 3, 55, 47) uint8, `label` (N,)."""
    with whole_file(path) as temporary:
        # In memory: where the disk is full, HDF5's library ends the process with a fault.
        with h5py.File(temporary, "w", driver="core", backing_store=False) as file:
            file.create_dataset(
                "data", data=pixels.numpy(), compression="gzip", chunks=(64, *pixels.shape[1:])
            )
            file["label"] = labels.numpy()
            file.flush()
            content = file.id.get_file_image()
        temporary.write_bytes(content)
