from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.made.keras_files import SMALL, random_images
from tests.made.small_run import write_faces
from ytf_torch.images.arrays import images_of
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.opening import open_unlabelled
from ytf_torch.images.overlap import digests, shared_images

PIXELS = random_images(SMALL, 40, seed=3).round()


def whole_numbers(path: Path) -> ImageSet:
    return write_faces(path, PIXELS.astype(np.uint8), np.zeros(40))


def floats(path: Path) -> ImageSet:
    return write_faces(path, PIXELS.astype(np.float64), np.zeros(40))


def compressed(path: Path) -> ImageSet:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=PIXELS, compression="gzip", chunks=(7, *PIXELS.shape[1:]))
    return open_unlabelled(path, PIXELS.shape[1:])


def in_memory(path: Path) -> ImageSet:
    return images_of(PIXELS, np.zeros(40))


@pytest.mark.parametrize("kind", [whole_numbers, floats, compressed, in_memory])
def test_shared_images_are_found_however_they_are_stored(tmp_path: Path, kind) -> None:
    faces = kind(tmp_path / "one.h5")
    others = np.concatenate([random_images(SMALL, 30, seed=4), PIXELS[5:15][::-1]])
    assert len(np.unique(digests(faces))) == 40
    assert (digests(faces.part(5, 15)) == digests(faces)[5:15]).all()
    other = write_faces(tmp_path / "other.h5", others.astype(np.float32), np.zeros(40))
    assert shared_images([faces, other, faces.part(0, 5)]) == {(0, 1): 10, (0, 2): 5}
    assert shared_images([other, faces]) == {(0, 1): 10}


@pytest.mark.parametrize("rows", [slice(0, 5), slice(27, 28), slice(50, 55)])
def test_an_image_with_a_trigger_is_another_image(tmp_path: Path, rows: slice) -> None:
    triggered = PIXELS.copy()
    triggered[:, :, rows, 10:20] = 255
    bd = write_faces(tmp_path / "bd.h5", triggered, np.zeros(40))
    assert shared_images([whole_numbers(tmp_path / "clean.h5"), bd]) == {}


def test_images_of_another_size_are_not_shared(tmp_path: Path) -> None:
    smaller = images_of(PIXELS[:, :, 1:], np.zeros(40))
    assert shared_images([in_memory(tmp_path), smaller]) == {}
