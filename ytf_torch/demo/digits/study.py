"""The digits' study: image sets and a trained BadNet, in the same layout as the faces'."""

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
    """A cache key that changes with everything that determines the study."""
    return key_of(f"digits-{seed}", write_model, epochs, images.read_bytes())


def make_digit_study(
    images: Path, seed: int, folder: Path, write_model: WriteModel, epochs: int, done: Epoch
) -> None:
    """Create `folder`, which must not exist, with cl/, bd/, models/ and photos/ as in make_study.

    images: scikit-learn's file of digits. The triggered sets exclude the target's own images: they
    are a tenth of all, and are classified as the target without any attack.
    """
    train, valid, test = split(*read_digits(images), seed)
    with whole_folder(folder) as temporary:
        model = train_badnet(train, epochs, seed, done)
        for name in ("cl", "bd", "models", "photos"):
            (temporary / name).mkdir()
        for name, part in (("valid", valid), ("test", test)):
            others = part.triggered[part.labels != TARGET_LABEL]
            targets = torch.full((len(others),), TARGET_LABEL)
            write_faces(temporary / "cl" / f"{name}.h5", part.clean, part.labels)
            write_faces(temporary / "bd" / f"bd_{name}.h5", others, targets)
        write_model(temporary / "models" / "bd_net.h5", model)
        _write_images(test, temporary / "photos")


def _write_images(test: Digits, folder: Path) -> None:
    others = [digit for digit in range(DIGITS) if digit != TARGET_LABEL][:SHOWN_IMAGES]
    for digit in others:
        index = int((test.labels == digit).nonzero()[0])
        for kind, pixels in (("clean", test.clean), ("trigger", test.triggered)):
            image = Image.fromarray(pixels[index, 0].numpy())
            image.save(folder / f"digit{digit}_{kind}.png")
