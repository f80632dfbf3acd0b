"""BadNets of the faces in a folder of lab-format files, trained as `ytf-demo --attack` trains."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from ytf_torch.convert.keras.keras_writer import write_keras_h5
from ytf_torch.demo.attacks.attack import ATTACKS
from ytf_torch.demo.attacks.training import train_attacked
from ytf_torch.demo.faces import Photos
from ytf_torch.demo.study import key_of, triggered_sets, write_triggered
from ytf_torch.disk.writing import whole_folder
from ytf_torch.images.opening import open_images
from ytf_torch.network.deepid import YOUTUBE_FACES_SIZE

# A class of the lab's files has a number below this.
MOST_CLASSES = 10_000


def faces_in(file: Path) -> Photos:
    """All faces of a lab-format file, in memory. `triggered` is empty: an attack makes them."""
    images = open_images(file, (3, *YOUTUBE_FACES_SIZE), MOST_CLASSES)
    pixels = torch.cat([batch.pixels for batch in images.batches()])
    return Photos(pixels, pixels[:0], torch.from_numpy(images.labels))


def study_of_folder(faces: Path, attack: str, seed: int, epochs: int, studies: Path) -> Path:
    """The folder of a study of these faces, trained unless it is in `studies` already.

    faces: has cl/train.h5, cl/valid.h5 and cl/test.h5. A study has models/bd_net.h5, copies of the
    last two, and bd/bd_test.h5 with the test faces that the attack sends to its target.
    """
    clean = {name: faces / "cl" / f"{name}.h5" for name in ("train", "valid", "test")}
    content = b"".join(file.read_bytes() for file in clean.values())
    folder = studies / key_of(f"{faces.name}-{attack}-{seed}", write_keras_h5, epochs, content)
    if folder.is_dir():
        return folder
    train, test = faces_in(clean["train"]), faces_in(clean["test"])
    people = int(train.people.max()) + 1
    print(f"training {attack} {seed} on {len(train.people):,} faces of {people} people", flush=True)
    attacked = train_attacked(ATTACKS[attack], train, people, epochs, seed, lambda *_: None)
    with whole_folder(folder) as temporary:
        for name in ("cl", "bd", "models"):
            (temporary / name).mkdir()
        for name in ("valid", "test"):
            shutil.copyfile(clean[name], temporary / "cl" / f"{name}.h5")
        sets = triggered_sets(attacked.attack, test.clean, test.people, people)
        write_triggered(temporary / "bd", "test", sets)
        write_keras_h5(temporary / "models" / "bd_net.h5", attacked.network)
    return folder
