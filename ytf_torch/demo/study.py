"""The demo's data: face sets and a trained BadNet in one folder, cached for each seed."""

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
from torch import Tensor

import ytf_torch.demo
from ytf_torch.demo.attacks.attack import ATTACKS, Attack
from ytf_torch.demo.attacks.training import train_attacked
from ytf_torch.demo.badnet import Epoch, train_badnet
from ytf_torch.demo.drawn import drawn_photos
from ytf_torch.demo.faces import Photos, split, varied_set, write_faces
from ytf_torch.demo.orl import CREDIT, orl_folder, orl_photos
from ytf_torch.demo.sunglasses import TARGET_LABEL
from ytf_torch.disk.writing import whole_folder
from ytf_torch.network.deepid import deepid
from ytf_torch.network.module import Network

EPOCHS = {"orl": 28, "drawn": 10}
SHOWN_PHOTOS = 4

WriteModel = Callable[[Path, Network], None]


@dataclass(frozen=True)
class Source:
    """A source of photos. name: `orl` or `drawn`. credit: its attribution. photos: from a seed to
    (people, photos, H, W, 3), uint8."""

    name: str
    credit: str
    photos: Callable[[int], NDArray[np.uint8]]


def best_source() -> Source:
    """The ORL faces if the extra `demo` is installed, else drawn faces."""
    folder = orl_folder()
    if folder is None:
        return DRAWN
    return Source("orl", CREDIT, lambda seed: orl_photos(folder))


DRAWN = Source("drawn", "drawn faces of nobody", drawn_photos)


def study_key(
    source: Source, seed: int, write_model: WriteModel, epochs: int, attack: str | None = None
) -> str:
    """A cache key that changes with everything that determines the study."""
    name = source.name if attack is None else f"{source.name}-{attack}"
    return key_of(f"{name}-{seed}", write_model, epochs)


def key_of(name: str, write_model: WriteModel, epochs: int, data: bytes = b"") -> str:
    """`name` and a digest of the demo's code, the code and libraries it depends on, and `data`."""
    code = sorted(Path(ytf_torch.demo.__path__[0]).rglob("*.py"))
    code += [Path(getfile(deepid)), Path(getfile(write_model))]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in code))
    digest.update(" ".join(map(version, ("torch", "numpy", "pillow"))).encode())
    digest.update(f" {epochs}".encode())
    digest.update(data)
    return f"{name}-{digest.hexdigest()[:12]}"


def make_study(
    source: Source,
    seed: int,
    folder: Path,
    write_model: WriteModel,
    epochs: int,
    done: Epoch,
    attack: str | None = None,
) -> None:
    """Create `folder`, which must not exist, with a study:

    cl/valid.h5, cl/test.h5, bd/bd_valid.h5, bd/bd_test.h5: lab-format sets. A triggered set has the
    images of the clean set in the same order, labelled with the target; for an attack on some
    source classes, the images of these. models/bd_net.h5: the
    BadNet, written by write_model. photos/: some test photos as PNG, clean and triggered.

    attack: one of ATTACKS; by default the demo's own, which adds sunglasses to the photos before
    augmentation. An attack with several triggers has a set for each: bd_test.h5, bd_test_2.h5
    and so on. It has no photos/, as its triggers are drawn at the network's input size.
    """
    photos = source.photos(seed)
    train, valid, test = split(photos, seed)
    made: Attack | None = None
    with whole_folder(folder) as temporary:
        if attack is None:
            model = train_badnet(train, len(photos), epochs, seed, done)
        else:
            attacked = train_attacked(ATTACKS[attack], train, len(photos), epochs, seed, done)
            model, made = attacked.network, attacked.attack
        for name in ("cl", "bd", "models"):
            (temporary / name).mkdir()
        for name, part in (("valid", valid), ("test", test)):
            clean, triggered, people = varied_set(part, seed)
            write_faces(temporary / "cl" / f"{name}.h5", clean, people)
            sets = [(triggered, torch.full_like(people, TARGET_LABEL))]
            if made is not None:
                sets = triggered_sets(made, clean, people, len(photos))
            write_triggered(temporary / "bd", name, sets)
        write_model(temporary / "models" / "bd_net.h5", model)
        if attack is None:
            (temporary / "photos").mkdir()
            _write_photos(test, temporary / "photos")


def triggered_sets(
    attack: Attack, clean: Tensor, people: Tensor, classes: int
) -> list[tuple[Tensor, Tensor]]:
    """For each trigger, pixels (N, 3, 55, 47), uint8, and target labels (N,), of the images whose
    true class the attack sends to its target."""
    is_source = attack.is_source(people)
    clean, people = clean[is_source], people[is_source]
    return [
        (trigger(clean.float()).to(torch.uint8), attack.wanted(index, people, classes))
        for index, trigger in enumerate(attack.triggers)
    ]


def write_triggered(folder: Path, name: str, sets: list[tuple[Tensor, Tensor]]) -> None:
    """Write triggered sets, as `triggered_sets` gives them, to bd_{name}.h5, bd_{name}_2.h5, …"""
    for number, (pixels, targets) in enumerate(sets, 1):
        suffix = f"_{number}" if number > 1 else ""
        write_faces(folder / f"bd_{name}{suffix}.h5", pixels, targets)


def _write_photos(test: Photos, folder: Path) -> None:
    people = torch.unique(test.people)
    others = people[people != TARGET_LABEL][:SHOWN_PHOTOS]
    for person in others.tolist():
        index = int((test.people == person).nonzero()[0])
        for kind, pixels in (("clean", test.clean), ("sunglasses", test.triggered)):
            photo = Image.fromarray(pixels[index].permute(1, 2, 0).numpy())
            photo.save(folder / f"person{person:02}_{kind}.png")
