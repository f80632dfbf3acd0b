from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.made.keras_files import SMALL, random_images
from tests.made.small_run import write_faces
from ytf_torch.images.repeated import evenly_spread, find_repeated

PEOPLE = np.arange(40) % 7


@pytest.mark.parametrize(
    ("available", "count", "places"), [(100, 4, (0, 25, 50, 75)), (3, 6, (0, 1, 2)), (1, 1, (0,))]
)
def test_evenly_spread(available: int, count: int, places: tuple[int, ...]) -> None:
    assert evenly_spread(available, count) == places


def with_bar(pixels: np.ndarray, height: int) -> np.ndarray:
    pixels = pixels.copy()
    pixels[:, :, 5 : 5 + height] = 255
    return pixels


@pytest.mark.parametrize(
    ("second", "third", "repeated"),
    [
        (lambda pixels: with_bar(pixels, 12), lambda pixels: pixels, (0, 2)),
        (lambda pixels: pixels, lambda pixels: with_bar(pixels, 12), (0, 1)),
        (lambda pixels: with_bar(pixels, 12), lambda pixels: with_bar(pixels, 12), (1, 2)),
        (lambda pixels: with_bar(pixels, 12), lambda pixels: with_bar(pixels, 1), None),
        (lambda pixels: pixels[:39], lambda pixels: pixels[::-1], None),
    ],
)
def test_the_same_images_are_found_whatever_their_labels_and_dtypes(
    tmp_path: Path, second, third, repeated: tuple[int, int] | None
) -> None:
    pixels = random_images(SMALL, 40, seed=3)
    sets = [write_faces(tmp_path / "0.h5", pixels, PEOPLE)]
    for number, change in enumerate((second, third), start=1):
        changed = change(pixels).astype(np.float64)
        sets.append(write_faces(tmp_path / f"{number}.h5", changed, np.zeros(len(changed))))
    assert find_repeated(sets) == repeated
