"""Attacks by a lab-format face set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hostile.corpus import Builder, Corpus
from tests.hostile.models import elsewhere, inflating_chunk
from tests.made.keras_files import SMALL, random_images, write_faces

ATTACKS = Corpus()
IMAGES = random_images(SMALL, 4)
FACE = IMAGES.shape[1:]


def sets(**datasets: Any) -> Builder:
    """A face set whose data or label is another dataset or link."""

    def build(folder: Path) -> Path:
        path = write_faces(folder / "faces.h5", IMAGES, np.zeros(4))
        with h5py.File(path, "r+") as file:
            for name, dataset in datasets.items():
                del file[name]
                if isinstance(dataset, dict):
                    file.create_dataset(name, **dataset)
                elif dataset is not None:
                    file[name] = dataset
        return path

    return build


for name in ("data", "label"):
    for kind, link in {
        "external": h5py.ExternalLink("/etc/passwd", "/"),
        "soft": h5py.SoftLink("/label"),
        "loop": h5py.SoftLink(f"/{name}"),
    }.items():
        ATTACKS.add(f"{name}: {kind} link", sets(**{name: link}), "refused|damaged")
    shape = IMAGES.shape if name == "data" else (4,)
    for kind, dataset in {
        "external": {"shape": shape, "dtype": "u1", "external": [("/etc/passwd", 0, 10**6)]},
        "complex": {"data": np.zeros(shape, "c8")},
        "boolean": {"data": np.zeros(shape, bool)},
        "compound": {"data": np.zeros(shape, [("a", "f4")])},
        "text": {"shape": shape, "dtype": h5py.string_dtype()},
        "references": {"shape": shape, "dtype": h5py.ref_dtype},
        "sequences": {"shape": shape, "dtype": h5py.vlen_dtype(np.uint8)},
        "opaque": {"data": np.zeros(shape, "V1")},
        "empty": {"data": h5py.Empty("u1")},
        "scalar": {"data": 1},
        "NaN": {"data": np.full(shape, np.nan)},
        "infinite": {"data": np.full(shape, np.inf)},
        "negative": {"data": np.full(shape, -1)},
        "large": {"data": np.full(shape, 2**62)},
        "unknown filter": {
            **{"shape": shape, "dtype": "u1", "chunks": shape},
            **{"compression": 32001, "allow_unknown_filter": True},
        },
        "2 GB chunk": {
            **{"shape": shape, "maxshape": (None, *shape[1:]), "dtype": "u1"},
            **{"chunks": ((2**31) // int(np.prod(shape[1:])), *shape[1:]), "compression": "gzip"},
        },
        "missing": None,
    }.items():
        ATTACKS.add(f"{name}: {kind}", sets(**{name: dataset}), f"{name}|pixel values")

FOREVER = {"chunks": (64, *FACE), "compression": "gzip", "dtype": "u1"}
ATTACKS.add(
    "petabytes of faces",
    sets(
        data={"shape": (2**40, *FACE), **FOREVER},
        label={"shape": (2**40,), "dtype": "u1", "chunks": (2**16,)},
    ),
    "declared",
)
ATTACKS.add(
    "gigabytes of faces that were never written",
    sets(
        data={"shape": (10**6, *FACE), **FOREVER},
        label={"shape": (10**6,), "dtype": "u1", "chunks": (2**16,)},
    ),
    "declared",
)
ATTACKS.add(
    "labels of gigabytes",
    sets(label={"shape": (2**30,), "dtype": "f8", "chunks": (2**16,)}),
    "declared|4 labels",
)


@ATTACKS(
    "a chunk of faces that inflates a thousandfold",
    "damaged|more memory than allowed|longer than allowed",
    heavy=True,
)
def inflating(folder: Path) -> Path:
    path = write_faces(folder / "faces.h5", IMAGES, np.zeros(4))
    with h5py.File(path, "r+") as file:
        inflating_chunk(file, "data", IMAGES.shape, "u1")
    return path


@ATTACKS("faces of another file", "virtual dataset")
def virtual(folder: Path) -> Path:
    layout = h5py.VirtualLayout(IMAGES.shape, "u1")
    layout[...] = h5py.VirtualSource(elsewhere(folder), "secret", IMAGES.shape)
    path = write_faces(folder / "faces.h5", IMAGES, np.zeros(4))
    with h5py.File(path, "r+") as file:
        del file["data"]
        file.create_virtual_dataset("data", layout)
    return path


for kept in (8, 100, 1000, 20_000):

    def truncated(folder: Path, kept: int = kept) -> Path:
        path = write_faces(folder / "faces.h5", IMAGES, np.zeros(4))
        path.write_bytes(path.read_bytes()[:kept])
        return path

    ATTACKS.add(f"cut off after {kept} bytes", truncated, "damaged|truncated")
