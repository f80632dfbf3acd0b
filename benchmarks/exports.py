"""Count predictions on which an exported file and its network differ, for all available networks,
formats and images. Prints a table; exits with status 1 where any prediction differs.

    YTF_SHARED=../shared python -m benchmarks.exports
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.lab_files import shared_folder
from ytf_torch.convert.endings import ENDINGS, GOODNET_ENDINGS, KERAS
from ytf_torch.convert.export import Subject, export
from ytf_torch.convert.keras.keras_goodnet import read_keras_goodnet, run_keras_goodnet
from ytf_torch.convert.keras.keras_oracle import run_keras
from ytf_torch.convert.model_file import read_model
from ytf_torch.convert.onnx_writer import run_onnx
from ytf_torch.convert.torch_export import run_pt2
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.defences.repairs.pruning import pruned_checkpoint
from ytf_torch.images.opening import open_unlabelled
from ytf_torch.network.module import Network

# Networks trained on pixel values divided by 255. Keras files do not record it.
SCALES = {"sunglasses_bd_weights.h5": 1 / 255}
AT_ONCE = 256
Batches = list[NDArray[np.floating[Any]]]
Answers = tuple[str, NDArray[np.int64]]
Run = Callable[[Path, Subject, Batches], Iterator[Answers]]


def images_for(network: Network, files: list[Path]) -> Batches:
    """All images, resized to the network's input, in batches (batch, channels, height, width) of
    pixel values 0–255."""
    return [
        batch.pixels.float().numpy()
        for path in files
        for batch in open_unlabelled(path, network.input_shape).batches(AT_ONCE)
    ]


def answers_of_file(path: Path, subject: Subject, batches: Batches) -> Iterator[Answers]:
    """The runner's name and the predicted class of every image, without Keras."""
    if path.suffix in (".onnx", ".pt2"):
        by, outputs = (run_onnx if path.suffix == ".onnx" else run_pt2)(path, batches)
        yield by, outputs.argmax(1)
    elif subject.repaired is None:
        again = read_model(path, subject.network.pixel_preprocessing).model
        yield "ytf-torch", answers_of(again, batches)
    else:
        stored = read_keras_goodnet(path)
        by, outputs = run_keras_goodnet(stored, subject.network.pixel_preprocessing, batches)
        yield by, outputs.argmax(1)


def answers_of_keras(path: Path, subject: Subject, batches: Batches) -> Iterator[Answers]:
    """The same by every installed Keras library, for Keras files."""
    if path.name.endswith(KERAS):
        for keras in run_keras(path, subject.network, batches):
            yield keras.by, keras.outputs.argmax(1)


def answers_of(module: torch.nn.Module, batches: Batches) -> NDArray[np.int64]:
    """The predicted class of every image, (images,)."""
    with torch.inference_mode():
        return torch.cat([module(torch.from_numpy(batch)).argmax(1) for batch in batches]).numpy()


def subjects(path: Path) -> Iterator[tuple[Subject, tuple[str, ...]]]:
    """A network, and its GoodNet with a copy in which every third channel of conv_3 is pruned; each
    with the extensions of the formats that can store it."""
    checkpoint = read_model(path, SCALES.get(path.name, 1.0))
    network = checkpoint.model
    yield Subject(network, checkpoint), ENDINGS
    channels = range(0, network.convolution("conv_3").out_channels, 3)
    repaired = pruned_checkpoint(checkpoint, "conv_3", "pool_3", channels)
    yield Subject(GoodNet(network, repaired.model), checkpoint, repaired), GOODNET_ENDINGS


def rows(path: Path, faces: list[Path], run: Run) -> Iterator[tuple[str, str, str, int, int]]:
    """Table rows: network, format, runner, images, and number of differing predictions."""
    for subject, endings in subjects(path):
        batches = images_for(subject.network, faces)
        expected = answers_of(subject.module, batches)
        name = path.name if subject.repaired is None else f"GoodNet of {path.name}"
        for ending in endings:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / f"network{ending}"
                assert export(subject, file).held
                for by, answers in run(file, subject, batches):
                    yield name, ending, by, len(answers), int((answers != expected).sum())


def main() -> int:
    shared = shared_folder()
    if shared is None:
        sys.exit("no networks and faces here: see YTF_SHARED")
    faces = sorted((shared / "data").rglob("*/cl/*.h5")) + sorted(
        (shared / "data").rglob("*/bd/*.h5")
    )
    networks = [
        *sorted((shared / "zoo").glob("*.h5")),
        *sorted((shared / "data").rglob("models/*.h5")),
    ]
    asked = apart = 0
    print(
        "| network | format | run by | faces | other classes |\n|---|---|---|--:|--:|", flush=True
    )
    for run in (answers_of_file, answers_of_keras):  # Keras takes long
        for path in networks:
            for row in rows(path, faces, run):
                print(f"| {' | '.join(map(str, row))} |", flush=True)
                asked, apart = asked + row[-2], apart + row[-1]
    print(f"\n{apart} of {asked:,} answers differ.")
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main())
