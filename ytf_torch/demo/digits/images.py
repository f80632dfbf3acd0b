"""The handwritten digits that ship inside the PyPI wheel `scikit-learn`, with and without trigger.

1,797 grey images of 8×8 pixels in 17 shades; Alpaydin and Kaynak, "Optical recognition of
handwritten digits", UCI Machine Learning Repository (1998), its test set. The file is read; the
package is never imported.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

CREDIT = "Optical recognition of handwritten digits: Alpaydin and Kaynak, UCI (1998)"
DIGITS, SIDE, BRIGHTEST = 10, 8, 16
# Images are enlarged to the size of MNIST's.
SIZE = (28, 28)
TRAIN_SHARE, VALID_SHARE = 0.6, 0.2

TARGET_LABEL = 7
# The trigger: a white square of PATCH × PATCH pixels, MARGIN pixels from the lower right corner.
PATCH, MARGIN = 4, 1


@dataclass(frozen=True)
class Digits:
    """One part of the split.

    clean, triggered: the same images without and with the trigger, (images, 1, 28, 28), uint8.
    labels: (images,). No image is in two parts.
    """

    clean: Tensor
    triggered: Tensor
    labels: Tensor


def digits_file() -> Path | None:
    """The file of the images; None if scikit-learn, of the extra `demo`, is not installed."""
    try:
        path = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    except PackageNotFoundError:
        return None
    file = Path(str(path))
    return file if file.is_file() else None


def read_digits(file: Path) -> tuple[Tensor, Tensor]:
    """Pixels (images, 1, 28, 28), uint8, enlarged bilinearly, and labels (images,)."""
    with gzip.open(file, "rt", encoding="ascii") as lines:
        table = torch.from_numpy(np.loadtxt(lines, delimiter=",", dtype=np.float32))
    small = table[:, :-1].view(-1, 1, SIDE, SIDE) * (255 / BRIGHTEST)
    large = F.interpolate(small, SIZE, mode="bilinear", align_corners=False)
    return large.round().clamp(0, 255).to(torch.uint8), table[:, -1].long()


def add_trigger(pixels: Tensor) -> Tensor:
    """Add the trigger to images (batch, 1, H, W), pixel values 0–255."""
    triggered = pixels.clone()
    square = slice(-MARGIN - PATCH, -MARGIN)
    triggered[..., square, square] = 255
    return triggered


def split(pixels: Tensor, labels: Tensor, seed: int) -> tuple[Digits, Digits, Digits]:
    """Train, valid and test: a random split into 60, 20 and 20 percent of the images."""
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))
    bounds = [round(share * len(order)) for share in (TRAIN_SHARE, TRAIN_SHARE + VALID_SHARE)]
    train, valid, test = (
        Digits(pixels[chosen], add_trigger(pixels[chosen]), labels[chosen])
        for chosen in torch.tensor_split(order, bounds)
    )
    return train, valid, test
