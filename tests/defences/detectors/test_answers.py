from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.made.keras_files import SMALL, random_images, write_faces
from ytf_torch.defences.detectors.answers import Answer, Unreadable, detect
from ytf_torch.errors import InputError
from ytf_torch.faces.photos import read_photo
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.masking import bake_mask

SHAPE = (3, 55, 47)


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    """Pixels (H, W, channels) as an image file."""
    Image.fromarray(pixels).save(path, **options)
    return path


def test_a_photo_of_the_models_size_keeps_every_pixel(tmp_path: Path) -> None:
    face = random_images(SMALL, 1)[0]
    path = save(tmp_path / "face.png", face.transpose(1, 2, 0))
    assert np.array_equal(read_photo(path, SHAPE).numpy(), face)


def test_the_centre_of_a_wide_photo_is_used(tmp_path: Path) -> None:
    photo = np.zeros((110, 300, 3), np.uint8)
    photo[:, 103:197] = (10, 20, 30)
    found = read_photo(save(tmp_path / "wide.png", photo), SHAPE)
    assert found.shape == SHAPE
    assert found[:, 5:50, 3:44].reshape(3, -1).unique(dim=1).flatten().tolist() == [10, 20, 30]


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_photos_become_rgb(tmp_path: Path, channels: int) -> None:
    photo = np.full((55, 47, channels), 200, np.uint8).squeeze()
    if channels == 4:
        photo[..., 3] = 0
    found = read_photo(save(tmp_path / "photo.png", photo), SHAPE)
    assert found.unique().tolist() == [0 if channels == 4 else 200]


def test_a_photo_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    upright = np.zeros((55, 47, 3), np.uint8)
    upright[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to view
    path = tmp_path / "turned.png"
    Image.fromarray(np.rot90(upright).copy()).save(path, exif=exif)
    assert np.array_equal(read_photo(path, SHAPE).permute(1, 2, 0).numpy(), upright)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "PNG or JPEG"), (b"GIF89a", "PNG or JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG|damaged")],
)
def test_what_is_no_photo_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "face.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_photo(path, SHAPE)


def test_a_truncated_photo_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "face.png", random_images(SMALL, 1)[0].transpose(1, 2, 0))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="damaged photo"):
        read_photo(path, SHAPE)


def test_each_face_of_each_input_is_answered_in_order(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    images = random_images(SMALL, 70)
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in (2, 0, 1):
        save(folder / f"{index}.png", images[index].transpose(1, 2, 0))
    (folder / "notes.txt").write_text("not a photo")
    faces = write_faces(tmp_path / "bd.h5", images.astype(np.float64), np.zeros(70))
    missing = tmp_path / "none.png"
    pruned = bake_mask(checkpoint.model, "conv_3", [0, 2])
    found = list(detect(checkpoint.model, pruned, [folder, missing, faces]))

    assert [item.input for item in found[:5]] == [
        *(str(folder / f"{index}.png") for index in range(3)),
        str(missing),
        f"{faces}[0]",
    ]
    assert isinstance(found[3], Unreadable)
    assert "no such file" in found[3].reason
    with torch.inference_mode():
        b = checkpoint.model(torch.from_numpy(images)).argmax(1).tolist()
        repaired = pruned(torch.from_numpy(images)).argmax(1).tolist()
    expected = [(x if x == y else 7, x, y) for x, y in zip(b, repaired, strict=True)]
    answers = [item for item in found if isinstance(item, Answer)]
    assert [(a.goodnet, a.badnet, a.pruned) for a in answers] == expected[:3] + expected
    assert {a.backdoored for a in answers} == {True, False}
    assert all(a.backdoored == (a.goodnet == 7) for a in answers)


def test_an_empty_folder_is_unreadable(tmp_path: Path, checkpoint: Checkpoint) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (found,) = detect(checkpoint.model, checkpoint.model, [folder])
    assert isinstance(found, Unreadable)
    assert "no PNG, JPEG or HDF5 file" in found.reason
