"""Mutated files for every reader: models, face sets, converted models, references,
photos, settings; and networks of any sizes, which are run where they are read.

`python -m tests.hostile.fuzz --minutes 30` tries inputs until the time is up, prints how many there
were and what became of them, and keeps every input that did anything but be read or be refused.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any
from zipfile import ZipFile

import h5py
import numpy as np
import torch
from PIL import Image

from tests.hostile.networks import converted
from tests.made.keras_files import (
    KERNELS,
    random_images,
    random_weights,
    write_faces,
    write_keras_archive,
    write_keras_file,
)
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.convert.parity import read_reference
from ytf_torch.errors import InputError
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.opening import open_images
from ytf_torch.images.photos import read_photo
from ytf_torch.network.checkpoint import load_checkpoint, save_checkpoint
from ytf_torch.network.deepid import DeepIDSizes
from ytf_torch.run.settings import read_settings

# Small, so that most of a file is structure, which is where mutations tell.
TINY = DeepIDSizes((55, 47), (2, 2, 2, 2), KERNELS, features=2, classes=3)
# Of processor time in this process; of a clock's, more, for the machine may have other work.
SLOW_SECONDS, SLOW_CLOCK_SECONDS = 10, 60
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
    for _ in open_images(path, TINY.input_shape, TINY.classes).batches():
        pass


def read_network(path: Path) -> None:
    """One batch of black faces through a converted model."""
    model = load_checkpoint(path).model
    with torch.inference_mode():
        model(torch.zeros(BATCH_SIZE, *model.input_shape))


READERS: dict[str, Reader] = {
    "model": lambda path: keras_checkpoint(read_keras_file(path), 1.0),
    "faces": read_faces,
    "converted": load_checkpoint,
    "network": read_network,
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
    save_checkpoint(keras_checkpoint(read_keras_file(keras), 1.0), folder / "b")
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
    arrays = {"input": images, "logits": np.zeros((3, 3), np.float32), "pixel_scale": np.ones(1)}
    for save in (np.savez, np.savez_compressed):
        save(folder / "a.npz", **arrays)
        keep("reference", folder / "a.npz")
    for path in sound_photos(folder, Image.fromarray(images[0].transpose(1, 2, 0))):
        keep("photo", path)
    return found


def sound_photos(folder: Path, face: Image.Image) -> Iterator[Path]:
    """A face in each format, and in each kind of colours that a format has."""
    alpha, deep = face.copy(), np.asarray(face.convert("L")).astype(np.uint16) * 257
    alpha.putalpha(face.convert("L"))
    turned = Image.Exif()
    turned[0x0112] = 6
    options: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("png", face, {"exif": turned}),
        *(("png", photo, {}) for photo in (alpha, face.quantize(16), Image.fromarray(deep))),
        ("png", face, {"save_all": True, "append_images": [face, face]}),
        *(("jpg", face, {"progressive": progressive}) for progressive in (False, True)),
        ("jpg", face.convert("CMYK"), {"exif": turned}),
        *(("webp", photo, {"lossless": True}) for photo in (face, alpha)),
        ("webp", face, {"save_all": True, "append_images": [face]}),
        ("gif", face.quantize(16), {}),
        ("bmp", face, {}),
        ("ppm", face, {}),
        *(("tif", face, {"compression": packing}) for packing in (None, "tiff_lzw", "jpeg")),
        ("tif", face.convert("1"), {"compression": "group4"}),
    ]
    for ending, photo, option in options:
        photo.save(folder / f"a.{ending}", **option)
        yield folder / f"a.{ending}"


def random_network(rng: random.Random, folder: Path) -> bytes:
    """A converted model of random sizes, most of them sensible; of a few megabytes at most."""
    while True:
        channels = tuple(round(10 ** rng.uniform(0, 3.2)) for _ in range(4))
        kernels = tuple((rng.choice((1, 1, 2, 3, 5, 40)),) * 2 for _ in range(4))
        side, units = round(10 ** rng.uniform(1, 2.7)), round(10 ** rng.uniform(0, 4))
        sizes = DeepIDSizes((side, side), channels, kernels, units, rng.choice((1, 7, 10**5)))
        try:
            shapes = sizes.parameter_shapes()
        except InputError:  # faces that are too small for the kernels
            continue
        if sum(map(math.prod, shapes.values())) < 10**6:
            dtype = rng.choice((torch.float32, torch.float64))
            return converted(sizes, dtype)(folder).read_bytes()


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


def fuzz(
    seconds: float, seed: int, folder: Path, most: int | None = None
) -> tuple[Counter[str], list[str]]:
    """How many inputs of each kind were read or refused, and what went wrong.

    It ends when the time is up, or after `most` inputs. Whatever went wrong is kept in `folder`.
    """
    rng = random.Random(seed)
    sound, counts, failures = sound_files(folder), Counter[str](), list[str]()
    path = folder / "input"
    end = time.monotonic() + seconds
    while time.monotonic() < end and sum(counts.values()) != most:
        kind, content = rng.choice(sound) if rng.random() < 0.95 else ("network", b"")
        changed = mutated(rng, content) if content else random_network(rng, folder)
        path.write_bytes(changed)
        began, spent, problem = time.monotonic(), time.process_time(), ""
        try:
            READERS[kind](path)
            counts[f"{kind} read"] += 1
        except InputError as error:
            counts[f"{kind} refused"] += 1
            if not str(error).isprintable():
                problem = f"unprintable line {str(error)!r}"
        except Exception:
            counts[f"{kind} went wrong"] += 1
            problem = traceback.format_exc()
        took = time.process_time() - spent, time.monotonic() - began
        if took[0] > SLOW_SECONDS or took[1] > SLOW_CLOCK_SECONDS:
            problem = f"took {took[0]:.0f} s of processor time, {took[1]:.0f} s by the clock"
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
    print(f"seed {seed}: {counts.total():,} inputs, {len(failures)} went wrong")
    own, readers = (getrusage(who).ru_maxrss * 1024 / 1e6 for who in (RUSAGE_SELF, RUSAGE_CHILDREN))
    print(f"memory at most: {own:.0f} MB here, {readers:.0f} MB in a confined process")
    for name, count in sorted(counts.items()):
        print(f"  {name}: {count:,}")
    for failure in failures:
        print(failure)
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
