"""The study of the digits: sets and a trained BadNet in one folder, laid out as the faces' is."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from ytf_torch.demo.badnet import Epoch
from ytf_torch.demo.digits.images import DIGITS, TARGET_LABEL, Digits, read_digits, split
from ytf_torch.demo.digits.network import train_badnet
from ytf_torch.demo.faces import write_faces
from ytf_torch.demo.study import WriteModel, key_of
from ytf_torch.disk.writing import whole_folder

EPOCHS = 20
SHOWN_IMAGES = 4


def digit_study_key(images: Path, seed: int, write_model: WriteModel, epochs: int) -> str:
    """A name that changes with everything the study depends on."""
    return key_of(f"digits-{seed}", write_model, epochs, images.read_bytes())


def make_digit_study(
    images: Path, seed: int, folder: Path, write_model: WriteModel, epochs: int, done: Epoch
) -> None:
    """Fill `folder`, which must not exist: cl/, bd/, models/ and photos/ as make_study does, here
    of digits. images: scikit-learn's file of them. Of ten classes the target's own images are a
    tenth, and get the target without any attack: the triggered sets leave them out.
    """
    train, valid, test = split(*read_digits(images), seed)
    with whole_folder(folder) as temporary:
        model = train_badnet(train, epochs, seed, done)
        for name in ("cl", "bd", "models", "photos"):
            (temporary / name).mkdir()
        for name, side in (("valid", valid), ("test", test)):
            others = side.triggered[side.labels != TARGET_LABEL]
            wanted = torch.full((len(others),), TARGET_LABEL)
            write_faces(temporary / "cl" / f"{name}.h5", side.clean, side.labels)
            write_faces(temporary / "bd" / f"bd_{name}.h5", others, wanted)
        write_model(temporary / "models" / "bd_net.h5", model)
        _write_images(test, temporary / "photos")


def _write_images(test: Digits, folder: Path) -> None:
    others = [digit for digit in range(DIGITS) if digit != TARGET_LABEL][:SHOWN_IMAGES]
    for digit in others:
        place = int((test.labels == digit).nonzero()[0])
        for kind, pixels in (("clean", test.clean), ("trigger", test.triggered)):
            image = Image.fromarray(pixels[place, 0].numpy())
            image.save(folder / f"digit{digit}_{kind}.png")
