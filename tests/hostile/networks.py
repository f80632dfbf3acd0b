"""Attacks by the sizes of a network: small files that ask for gigabytes, or for hours."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save

from tests.hostile.corpus import Builder, Corpus
from tests.made.keras_files import SMALL, random_weights, write_keras_file
from ytf_torch.network.deepid import DeepIDSizes

CONVERTED, KERAS = Corpus(), Corpus()
ONES = ((1, 1),) * 4
METADATA = {
    **{"format": "ytf-torch/1", "network": "DeepID", "pixel_scale": "1", "mask": "null"},
    **{"source_sha256": '"00"', "source_file": '"net.h5"', "keras_version": '"2.14.0"'},
    "converter_version": '"0"',
}


def converted(sizes: DeepIDSizes, dtype: torch.dtype = torch.float32) -> Builder:
    """A converted model of these sizes."""

    def build(folder: Path) -> Path:
        shapes = sizes.parameter_shapes()
        state = {name: torch.full(shape, 0.01, dtype=dtype) for name, shape in shapes.items()}
        told = {"classes": str(sizes.classes), "input_shape": str(list(sizes.input_shape))}
        (folder / "net.safetensors").write_bytes(save(state, METADATA | told))
        return folder / "net.safetensors"

    return build


def keras(sizes: DeepIDSizes) -> Builder:
    """A Keras file of these sizes."""
    return lambda folder: write_keras_file(folder / "net.h5", sizes, random_weights(sizes))


COLUMNS = DeepIDSizes((400, 400), (5, 1, 1, 1), ((100, 100), *ONES[1:]), 1, 2)
MAPS = DeepIDSizes((2000, 2000), (20, 1, 1, 1), ONES, 1, 2)
CONTRIBUTIONS = DeepIDSizes((400, 400), (3, 3, 40, 150), ONES, 1, 2)
CLASSES = DeepIDSizes((8, 8), (1, 1, 1, 1), ONES, 1, 200_000)
CHANNELS = DeepIDSizes((8, 8), (1, 1, 5000, 1), ONES, 1, 2)
FEATURES = DeepIDSizes((8, 8), (1, 1, 1, 1), ONES, 1_000_000, 2)
PRODUCTS = DeepIDSizes((64, 64), (16, 1000, 1, 1), ((1, 1), (9, 9), (1, 1), (1, 1)), 1, 2)
for name, sizes, says in (
    ("a kernel as large as a face", COLUMNS, "MB of memory"),
    ("maps of 80 million values", MAPS, "MB of memory"),
    ("contributions of 150 GB", CONTRIBUTIONS, "in a sweep"),
    ("200,000 classes", CLASSES, "at most 100,000 classes"),
    ("5,000 channels", CHANNELS, "at most 2,048 channels"),
    ("a million features", FEATURES, "MB of memory"),
    ("a billion products", PRODUCTS, "million multiply-adds"),
):
    CONVERTED.add(name, converted(sizes), says)
    KERAS.add(name, keras(sizes), says)
CONVERTED.add("a kernel in float64", converted(COLUMNS, torch.float64), "MB of memory")


@CONVERTED("sides of 4,299 digits", "at most 4,096 pixels a side")
def digits(folder: Path) -> Path:
    path = converted(SMALL)(folder)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(b"[3, 55, 47]", b"[3, " + b"9" * 4299 + b", 47]")
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    return path
