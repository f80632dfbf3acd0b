"""Image sets of the lab's size and file layout, and a network of the lab's size."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from ytf_torch.convert import read_keras_model
from ytf_torch.convert.keras.keras_writer import write_keras_h5
from ytf_torch.images.arrays import ImagesInMemory
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.opening import open_images
from ytf_torch.network.deepid import YOUTUBE_FACES_SIZE, DeepIDSizes, deepid
from ytf_torch.network.module import Network

CLEAN_VALID, TEST = 11_547, 12_830
KERNELS = ((4, 4), (3, 3), (3, 3), (2, 2))
LAB_CHANNELS, LAB_CLASSES = 60, 1283
BLOCK = 8 * BATCH_SIZE
WRONG_EVERY = 9


@dataclass(frozen=True)
class LabFiles:
    """Paths of a network and image sets.

    keras_model: an .h5 for Keras and ytf-prune. source: description of weights and images.
    """

    keras_model: Path
    clean_valid: Path
    clean_test: Path
    poisoned_test: Path
    source: str


def shared_folder() -> Path | None:
    """The folder of real weights and images; None if it is not available."""
    folder = Path(os.environ.get("YTF_SHARED", Path(__file__).parent.parent.parent / "shared"))
    return folder if (folder / "zoo").is_dir() else None


def random_model(channels: int = LAB_CHANNELS, classes: int = LAB_CLASSES) -> Network:
    """A DeepID of the lab's size with random weights, every other channel of conv_3 dead.

    channels: of conv_3. The published network's conv_3 has 31 dead channels of 60.
    """
    sizes = DeepIDSizes(YOUTUBE_FACES_SIZE, (20, 40, channels, 80), KERNELS, 160, classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = deepid(sizes).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("weight"):
                    torch.nn.init.kaiming_normal_(parameter)
            model.conv_3.bias[::2] = -1e9
    return model


def make_lab_files(folder: Path, share: float = 1.0) -> LabFiles:
    """Write all files to `folder`. share: fraction of the lab's images; all of them take 2.3 GB.

    Labels are the network's own predictions, every ninth of them changed, so that accuracy falls as
    channels are pruned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shared = shared_folder()
    photos: list[Path | None] = [None, None, None]
    if shared:
        keras_model = shared / "zoo" / "bd_weights.h5"
        orl = shared / "data" / "orl"
        photos = [orl / "cl/valid.h5", orl / "cl/test.h5", orl / "bd/bd_test.h5"]
        source = "weights of the zoo's bd_weights.h5, ORL faces shifted, lit and noised at random"
    else:
        keras_model = folder / "random.h5"
        write_keras_h5(keras_model, random_model())
        source = "random weights, every other channel of conv_3 dead, drawn faces"
    model = read_keras_model(keras_model, 1.0).model
    valid, test, poisoned = (folder / name for name in ("valid.h5", "test.h5", "bd_test.h5"))
    sizes = {valid: CLEAN_VALID, test: TEST, poisoned: TEST}
    for seed, ((path, images), real) in enumerate(zip(sizes.items(), photos, strict=True)):
        _write_faces(path, model, max(int(images * share), 1), real, seed)
    return LabFiles(keras_model, valid, test, poisoned, source)


def in_memory(path: Path, model: Network) -> ImagesInMemory:
    """An image set, read into memory."""
    faces = open_images(path, model.input_shape, model.classes)
    pixels = torch.cat([batch.pixels for batch in faces.batches()])
    return ImagesInMemory(faces.path, faces.input_shape, faces.labels, pixels=pixels)


def repeated(faces: ImagesInMemory, times: int) -> ImagesInMemory:
    """The same images repeated several times, as uint8."""
    pixels = faces.pixels.to(torch.uint8).repeat(times, 1, 1, 1)
    return replace(faces, labels=np.tile(faces.labels, times), pixels=pixels)


def _write_faces(path: Path, model: Network, images: int, real: Path | None, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = model.input_shape
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", (images, *shape), np.float64)
        label = file.create_dataset("label", (images,), np.float64)
        photos = None if real is None else _photos(real, model)
        for start in range(0, images, BLOCK):
            count = min(BLOCK, images - start)
            if photos is None:
                pixels = drawn(shape, count, rng)
            else:
                pixels = varied(photos[rng.integers(0, len(photos), count)], rng)
            with torch.inference_mode():
                labels = model(torch.from_numpy(pixels)).argmax(1).numpy()
            labels[::WRONG_EVERY] = (labels[::WRONG_EVERY] + 1) % model.classes
            data[start : start + count], label[start : start + count] = pixels, labels


def _photos(path: Path, model: Network) -> NDArray[np.float32]:
    with h5py.File(path) as file:
        found: NDArray[np.float32] = file["data"][:].astype(np.float32)
    assert found.shape[1:] == model.input_shape
    return found


def varied(photos: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Photos (images, 3, H, W) with random shifts, brightness and noise."""
    brightness = rng.uniform(0.7, 1.3, (len(photos), 1, 1, 1))
    noisy = photos * brightness + rng.normal(0, 4, photos.shape)
    shifts = rng.integers(-3, 4, (len(photos), 2))
    shifted = [np.roll(photo, shift, (1, 2)) for photo, shift in zip(noisy, shifts, strict=True)]
    return np.stack(shifted).clip(0, 255).round().astype(np.uint8)


def drawn(shape: tuple[int, int, int], images: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random coloured blocks with noise, (images, *shape)."""
    _, height, width = shape
    blocks = rng.integers(0, 256, (images, 3, -(-height // 8), -(-width // 8)))
    large = blocks.repeat(8, 2).repeat(8, 3)[:, :, :height, :width]
    return (large + rng.integers(-20, 21, large.shape)).clip(0, 255).astype(np.uint8)
