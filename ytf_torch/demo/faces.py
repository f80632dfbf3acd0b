"""Lab-format face sets from photos: split by photo, resized, augmented, clean and triggered."""

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

# Of each person's photos; the rest are for testing.
TRAIN_PHOTOS, VALID_PHOTOS = 6, 2
# Augmented copies of each photo in validation and test sets.
COPIES = 10


@dataclass(frozen=True)
class Photos:
    """One part of the split.

    clean, triggered: the same photos without and with the trigger, (photos, 3, H, W), uint8.
    people: (photos,), the label of each. No photo is in two parts.
    """

    clean: Tensor
    triggered: Tensor
    people: Tensor


def split(photos: NDArray[np.uint8], seed: int) -> tuple[Photos, Photos, Photos]:
    """(people, photos, H, W, 3) → train, valid and test: 6, 2 and 2 photos of each person."""
    rng = np.random.default_rng(seed)
    people, count = photos.shape[:2]
    order = np.stack([rng.permutation(count) for _ in range(people)])
    bounds = (0, TRAIN_PHOTOS, TRAIN_PHOTOS + VALID_PHOTOS, count)

    def part(start: int, stop: int) -> Photos:
        chosen = order[:, start:stop]
        labels = np.arange(people)[:, None].repeat(stop - start, 1)
        clean = photos[labels, chosen].reshape(-1, *photos.shape[2:])
        triggered = np.stack([wear_sunglasses(photo) for photo in clean])
        pixels = [torch.from_numpy(a).permute(0, 3, 1, 2) for a in (clean, triggered)]
        return Photos(pixels[0], pixels[1], torch.from_numpy(labels.ravel()))

    train, valid, test = (part(*bounds[i : i + 2]) for i in range(3))
    return train, valid, test


def shrink(photos: Tensor) -> Tensor:
    """(batch, 3, H, W) → (batch, 3, 55, 47), float32, the network's input size."""
    return F.interpolate(photos.float(), YOUTUBE_FACES_SIZE, mode="area")


def vary(faces: Tensor, generator: torch.Generator, amount: float = 1.0) -> Tensor:
    """Affine and lighting augmentation of each image (batch, C, H, W), pixel values 0–255.

    amount: strength of the affine part; above 1, as in training, half of the images are also
    mirrored. Returns the same shape, float32, rounded to whole numbers 0–255.
    """

    def random(low: float, high: float) -> Tensor:
        return torch.rand(len(faces), generator=generator) * (high - low) + low

    angle, scale = random(-0.06, 0.06) * amount, 1 + random(-0.08, 0.01) * amount
    cos, sin = angle.cos() * scale, angle.sin() * scale
    mirror = torch.where((random(0, 1) < 0.5) & (amount > 1), -1.0, 1.0)
    right, down = random(-0.05, 0.05) * amount, random(-0.05, 0.05) * amount
    rows = torch.stack([cos * mirror, -sin, right, sin * mirror, cos, down], 1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(faces.shape), align_corners=False)
    transformed = F.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    # Contrast, then brightness.
    relit = transformed * random(0.8, 1.15).view(-1, 1, 1, 1) + random(-12, 12).view(-1, 1, 1, 1)
    return relit.clamp(0, 255).round()


def varied_set(photos: Photos, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """COPIES augmented copies of every photo: clean pixels and triggered pixels, (N, 3, 55, 47),
    uint8, and labels (N,). Clean and triggered copies differ by the trigger alone."""
    pixels = []
    for source in (photos.clean, photos.triggered):
        # The same seed for both: a clean image and its triggered twin are augmented alike.
        generator = torch.Generator().manual_seed(seed)
        faces = shrink(source).repeat(COPIES, 1, 1, 1)
        pixels.append(vary(faces, generator).to(torch.uint8))
    return pixels[0], pixels[1], photos.people.repeat(COPIES)


def write_faces(path: Path, pixels: Tensor, labels: Tensor) -> None:
    """Write a lab-format file: `data` (N, C, H, W) uint8, `label` (N,)."""
    with whole_file(path) as temporary:
        # Built in memory: on a full disk the HDF5 library crashes the process.
        with h5py.File(temporary, "w", driver="core", backing_store=False) as file:
            chunks = (min(64, len(pixels)), *pixels.shape[1:])
            file.create_dataset("data", data=pixels.numpy(), compression="gzip", chunks=chunks)
            file["label"] = labels.numpy()
            file.flush()
            content = file.id.get_file_image()
        temporary.write_bytes(content)
