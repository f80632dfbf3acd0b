"""Mutated files for the readers of models, face sets, converted models, references and settings.

`python -m tests.hostile.fuzz --minutes 30` tries inputs until the time is up, prints how many there
were and what became of them, and keeps every input that did anything but be read or be refused.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import h5py
import numpy as np
import torch

from convert.keras_file import read_keras_file
from convert.keras_graph import deepid_checkpoint
from convert.parity import read_reference
from tests.made.keras_files import (
    KERNELS,
    random_images,
    random_weights,
    write_faces,
    write_keras_archive,
    write_keras_file,
)
from ytf_torch.errors import InputError
from ytf_torch.faces.face_set import open_faces
from ytf_torch.faces.photos import read_photo
from ytf_torch.network.checkpoint import load_checkpoint, save_checkpoint
from ytf_torch.network.deepid import DeepIDSizes
from ytf_torch.run.settings import read_settings

# Small, so that most of a file is structure, which is where mutations tell.
TINY = DeepIDSizes((55, 47), (2, 2, 2, 2), KERNELS, features=2, classes=3)
SLOW_SECONDS = 10
TELLING = (0, 1, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
SETTINGS = """model = "net.h5"
clean_valid = "valid.h5"
poisoned_test = ["a.h5", "b.h5"]
out = "run"
drops = ["2", 4, 10.5]
layer = "conv_3"
pixel_scale = "1/255"
device = "cpu"
"""

Reader = Callable[[Path], Any]


def read_faces(path: Path) -> None:
    for _ in open_faces(path, TINY.input_shape, TINY.classes).batches():
        pass


READERS: dict[str, Reader] = {
    "model": lambda path: deepid_checkpoint(read_keras_file(path), 1.0),
    "faces": read_faces,
    "converted": load_checkpoint,
    "reference": read_reference,
    "photo": lambda path: read_photo(path, TINY.input_shape),
    "settings": lambda path: read_settings(path, {}),
}


def sound_files(folder: Path) -> list[tuple[str, bytes]]:
    """One file of each layout that the readers know, each with the reader it is for."""
    found: list[tuple[str, bytes]] = [("settings", SETTINGS.encode())]

    def keep(kind: str, path: Path) -> None:
        found.append((kind, path.read_bytes()))

    weights, images = random_weights(TINY), random_images(TINY, 3)
    keras = write_keras_file(folder / "a", TINY, weights)
    save_checkpoint(deepid_checkpoint(read_keras_file(keras), 1.0), folder / "b")
    keep("model", keras)
    keep("converted", folder / "b")
    options: list[dict[str, Any]] = [{"as_bytes": True, "full_model": False}, {"split_names": True}]
    for option in options:
        keep("model", write_keras_file(folder / "a", TINY, weights, **option))
    keep("model", write_keras_archive(folder / "a", TINY, weights))
    with ZipFile(folder / "a") as archive:
        found.append(("model", archive.read("model.weights.h5")))
    keep("faces", write_faces(folder / "a", images, np.zeros(3)))
    for version in ("earliest", "latest"):
        for packing in ({"compression": "gzip", "shuffle": True}, {"compression": "lzf"}):
            with h5py.File(folder / "a", "w", libver=version) as file:
                file.create_dataset("data", data=images, chunks=(1, 3, 55, 47), **packing)
                file["label"] = np.zeros(3, np.uint8)
            keep("faces", folder / "a")
    np.savez_compressed(
        folder / "a.npz", input=images, logits=np.zeros((3, 3), np.float32), pixel_scale=1.0
    )
    keep("reference", folder / "a.npz")
    from PIL import Image

    face = Image.fromarray(images[0].transpose(1, 2, 0))
    for suffix, progressive in (("png", False), ("jpg", False), ("jpg", True)):
        face.save(folder / f"a.{suffix}", progressive=progressive)
        keep("photo", folder / f"a.{suffix}")
    return found


def mutated(rng: random.Random, content: bytes) -> bytes:
    """A few bits flipped, bytes replaced by telling numbers, pieces copied over others, or cut."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 5, 10))):
        at = rng.randrange(min(len(found), rng.choice((200, 1000, 4000, len(found)))))
        kind = rng.random()
        if kind < 0.4:
            found[at] ^= 1 << rng.randrange(8)
        elif kind < 0.6:
            found[at] = rng.randrange(256)
        elif kind < 0.8:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice((*TELLING, len(found))) % 2 ** (8 * width)
            found[at : at + width] = number.to_bytes(width, "little")
        elif kind < 0.95:
            start, length = rng.randrange(len(found)), rng.choice((4, 8, 16, 64))
            found[at : at + length] = found[start : start + length]
        elif rng.random() < 0.2 and len(found) > 1:
            del found[rng.randrange(1, len(found)) :]
    return bytes(found)


def fuzz(seconds: float, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """How many inputs of each kind were read or refused, and what went wrong.

    Whatever went wrong is kept in `folder`.
    """
    rng = random.Random(seed)
    sound, counts, failures = sound_files(folder), Counter[str](), list[str]()
    path = folder / "input"
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        kind, content = rng.choice(sound)
        path.write_bytes(changed := mutated(rng, content))
        began, problem = time.monotonic(), ""
        try:
            READERS[kind](path)
            counts[f"{kind} read"] += 1
        except InputError as error:
            counts[f"{kind} refused"] += 1
            if "broke off" in str(error):
                counts["of them stopped in the HDF5 library"] += 1
            if not str(error).isprintable():
                problem = f"unprintable line {str(error)!r}"
        except Exception:
            problem = traceback.format_exc()
        if (took := time.monotonic() - began) > SLOW_SECONDS:
            problem = f"took {took:.0f} s"
        if problem:
            kept = folder / f"{kind}-{seed}-{len(failures)}"
            kept.write_bytes(changed)
            failures.append(f"{kept}: {problem}")
    return counts, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", type=Path, default=None, help="folder for what goes wrong")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    counts, failures = Counter[str](), list[str]()
    with contextlib.suppress(KeyboardInterrupt):
        counts, failures = fuzz(arguments.minutes * 60, seed, folder)
    tried = sum(count for name, count in counts.items() if not name.startswith("of them"))
    print(f"seed {seed}: {tried + len(failures):,} inputs, {len(failures)} went wrong")
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count:,}")
    for failure in failures:
        print(failure)
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
