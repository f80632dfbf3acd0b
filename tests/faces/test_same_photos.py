from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.made.keras_files import SMALL, random_images
from tests.made.small_run import write_faces
from ytf_torch.faces.same_photos import evenly_spread, find_repeated, same_photos, true_labels

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


def with_pattern(pixels: np.ndarray) -> np.ndarray:
    pattern = np.random.default_rng(5).uniform(0, 255, pixels.shape[1:])
    return (0.8 * pixels + 0.2 * pattern).round().astype(pixels.dtype)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda pixels: with_bar(pixels, 12), True),
        (lambda pixels: with_pattern(pixels), True),
        (lambda pixels: with_pattern(pixels)[::-1], False),
        (lambda pixels: with_bar(pixels, 40), False),
        (lambda pixels: random_images(SMALL, 40, seed=8), False),
        (lambda pixels: with_bar(pixels, 12)[::-1], False),
        (lambda pixels: with_bar(pixels, 12)[:39], False),
    ],
    ids=[
        "trigger",
        "pattern over all",
        "pattern, other places",
        "half of the face covered",
        "other photos",
        "other places",
        "one missing",
    ],
)
def test_the_clean_set_tells_who_is_on_triggered_faces_where_photos_are_the_same(
    tmp_path: Path, change, same: bool
) -> None:
    pixels = random_images(SMALL, 40, seed=3)
    clean = write_faces(tmp_path / "clean.h5", pixels, PEOPLE)
    changed = change(pixels)
    triggered = write_faces(tmp_path / "bd.h5", changed, np.zeros(len(changed), dtype=int))
    assert same_photos(clean, triggered) == same
    people = true_labels(triggered, clean)
    assert people is None or (people == PEOPLE).all()
    assert (people is not None) == same
    assert true_labels(triggered, None) is None


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
def test_the_same_pictures_are_found_whatever_their_labels_and_types(
    tmp_path: Path, second, third, repeated: tuple[int, int] | None
) -> None:
    pixels = random_images(SMALL, 40, seed=3)
    sets = [write_faces(tmp_path / "0.h5", pixels, PEOPLE)]
    for number, change in enumerate((second, third), start=1):
        changed = change(pixels).astype(np.float64)
        sets.append(write_faces(tmp_path / f"{number}.h5", changed, np.zeros(len(changed))))
    assert find_repeated(sets) == repeated
