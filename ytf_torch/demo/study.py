"""The demo's study: face sets and a trained BadNet in one folder, made once for a seed and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from inspect import getfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import ytf_torch.demo
from ytf_torch.demo.badnet import Epoch, train_badnet
from ytf_torch.demo.drawn import drawn_photos
from ytf_torch.demo.faces import Photos, split, varied_set, write_faces
from ytf_torch.demo.orl import CREDIT, orl_folder, orl_photos
from ytf_torch.demo.trigger import TARGET_LABEL
from ytf_torch.disk.writing import whole_folder
from ytf_torch.network.deepid import DeepID

EPOCHS = {"orl": 28, "drawn": 10}
SHOWN_PHOTOS = 4

WriteModel = Callable[[Path, DeepID], None]


@dataclass(frozen=True)
class Source:
    """Where the demo's photos come from. name: `orl` or `drawn`; credit: whom to name."""

    name: str
    credit: str
    photos: Callable[[int], NDArray[np.uint8]]


def best_source() -> Source:
    """The real ORL faces where the extra `demo` is installed, else drawn ones."""
    folder = orl_folder()
    if folder is None:
        return DRAWN
    return Source("orl", CREDIT, lambda seed: orl_photos(folder))


DRAWN = Source("drawn", "drawn faces of nobody", drawn_photos)


def study_key(source: Source, seed: int, write_model: WriteModel, epochs: int) -> str:
    """A name that changes with everything the study depends on."""
    code = sorted(Path(ytf_torch.demo.__path__[0]).glob("*.py"))
    code += [Path(getfile(DeepID)), Path(getfile(write_model))]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in code))
    digest.update(" ".join(map(version, ("torch", "numpy", "pillow"))).encode())
    digest.update(f" {epochs}".encode())
    return f"{source.name}-{seed}-{digest.hexdigest()[:12]}"


def make_study(
    source: Source, seed: int, folder: Path, write_model: WriteModel, epochs: int, done: Epoch
) -> None:
    """Fill `folder`, which must not exist, with a study:

    cl/valid.h5, cl/test.h5, bd/bd_valid.h5, bd/bd_test.h5: lab-format sets; a triggered set holds
    the faces of its clean twin at the same places, labelled with the target. models/bd_net.h5: the
    BadNet, by write_model. photos/: some test photos as PNG, clean and triggered.
    """
    photos = source.photos(seed)
    train, valid, test = split(photos, seed)
    with whole_folder(folder) as temporary:
        model = train_badnet(train, len(photos), epochs, seed, done)
        for name in ("cl", "bd", "models", "photos"):
            (temporary / name).mkdir()
        for name, side in (("valid", valid), ("test", test)):
            clean, triggered, people = varied_set(side, seed)
            write_faces(temporary / "cl" / f"{name}.h5", clean, people)
            target = torch.full_like(people, TARGET_LABEL)
            write_faces(temporary / "bd" / f"bd_{name}.h5", triggered, target)
        write_model(temporary / "models" / "bd_net.h5", model)
        _write_photos(test, temporary / "photos")


def _write_photos(test: Photos, folder: Path) -> None:
    people = torch.unique(test.people)
    others = people[people != TARGET_LABEL][:SHOWN_PHOTOS]
    for person in others.tolist():
        place = int((test.people == person).nonzero()[0])
        for kind, pixels in (("clean", test.clean), ("sunglasses", test.triggered)):
            photo = Image.fromarray(pixels[place].permute(1, 2, 0).numpy())
            photo.save(folder / f"person{person:02}_{kind}.png")
