from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from tests.made.keras_files import SMALL, random_images, write_faces
from ytf_torch.defences.detectors.answers import Answer, detect
from ytf_torch.images.input_files import Unreadable
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.masking import bake_mask


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    """Pixels (H, W, channels) as an image file."""
    Image.fromarray(pixels).save(path, **options)
    return path


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


@pytest.mark.parametrize("label", [None, np.full(4, 7), np.full(4, 1283), np.array([b"me"] * 4)])
def test_faces_are_answered_whatever_their_labels(
    tmp_path: Path, checkpoint: Checkpoint, label: np.ndarray | None
) -> None:
    images = random_images(SMALL, 4)
    with h5py.File(tmp_path / "bd.h5", "w") as file:
        file["data"] = images
        if label is not None:
            file["label"] = label
    found = detect(checkpoint.model, checkpoint.model, [tmp_path / "bd.h5"])
    with torch.inference_mode():
        expected = checkpoint.model(torch.from_numpy(images)).argmax(1).tolist()
    assert [item.goodnet for item in found if isinstance(item, Answer)] == expected
