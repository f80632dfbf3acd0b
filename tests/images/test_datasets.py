"""Datasets and loaders of PyTorch become image sets of pixel values 0–255."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from ytf_torch.errors import InputError
from ytf_torch.images.datasets import Samples, images_of_samples

IMAGES, SHAPE = 10, (3, 5, 4)
PIXELS = np.random.default_rng(0).integers(0, 256, (IMAGES, *SHAPE)).astype(np.uint8)
LABELS = np.arange(IMAGES) % 4
TENSORS = torch.from_numpy(PIXELS)
CLASSES = torch.from_numpy(LABELS)


class Items(Dataset[Any]):
    """As torchvision's datasets: pairs, one by one. A dataset need not end by itself."""

    def __init__(self, image: Callable[[np.ndarray], Any], label: Callable[[int], Any] = int):
        self.image, self.label = image, label

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, place: int) -> tuple[Any, Any]:
        place %= IMAGES
        return self.image(PIXELS[place]), self.label(LABELS[place])


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[tuple[Any, int]]:
        yield from zip(TENSORS, LABELS.tolist(), strict=True)


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """As torchvision's ToTensor."""
    return torch.from_numpy(pixels).float().div(255)


def picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels.transpose(1, 2, 0))


GIVEN: dict[str, Samples] = {
    "ToTensor": Items(to_tensor),
    "ToTensor, in float64": Items(lambda pixels: to_tensor(pixels).double()),
    "pictures of Pillow": Items(picture),
    "arrays": Items(lambda pixels: pixels),
    "pixel values in floating point": Items(lambda pixels: pixels.astype(np.float32)),
    "labels as tensors": Items(to_tensor, torch.tensor),
    "tensors": TensorDataset(TENSORS, CLASSES),
    "tensors and more": TensorDataset(TENSORS, CLASSES, CLASSES + 5),
    "a stream": Stream(),
    "a loader": DataLoader(TensorDataset(TENSORS, CLASSES), batch_size=4),
    "a loader of ToTensor": DataLoader(Items(to_tensor), batch_size=3),
    "a loader of a stream": DataLoader(Stream(), batch_size=4),
    "a subset": Subset(Items(picture), range(IMAGES)),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_every_kind_gives_the_same_pixels_and_labels(kind: str) -> None:
    found = images_of_samples(GIVEN[kind], "clean_valid")
    assert (found.pixels.numpy() == PIXELS).all()
    assert (found.labels == LABELS).all()
    assert found.input_shape == SHAPE


@pytest.mark.parametrize("kind", [kind for kind in GIVEN if "floating point" not in kind])
def test_what_totensor_divided_is_bytes_again(kind: str) -> None:
    assert images_of_samples(GIVEN[kind], "clean_valid").pixels.dtype == torch.uint8


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 3), ("P", 3), ("RGB", 3), ("RGBA", 4), ("CMYK", 3)]
)
def test_pictures_of_other_modes(mode: str, channels: int) -> None:
    found = images_of_samples(Items(lambda pixels: picture(pixels).convert(mode)), "clean_valid")
    assert found.input_shape == (channels, *SHAPE[1:])


def test_grey_images_without_an_axis_of_channels_get_one() -> None:
    found = images_of_samples(Items(lambda pixels: to_tensor(pixels)[0]), "clean_valid")
    assert (found.pixels.numpy() == PIXELS[:, :1]).all()


def test_values_between_those_of_bytes_are_kept() -> None:
    """As augmented images have them."""
    found = images_of_samples(Items(lambda pixels: to_tensor(pixels) * 0.9), "clean_valid")
    torch.testing.assert_close(found.pixels, TENSORS * 0.9)


class Texts(Items):
    def __getitem__(self, place: int) -> Any:
        return {"image": PIXELS[place], "label": 0}


def unequal(pixels: np.ndarray) -> torch.Tensor:
    return to_tensor(pixels)[:, :, : 3 if (pixels == PIXELS[6]).all() else 4]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (Items(lambda pixels: to_tensor(pixels) * 4 - 2), "0–1, found -2 to 2. Leave Normalize"),
        (Items(lambda pixels: to_tensor(pixels) * 1.1 - 0.05), "Clamp them to 0–1"),
        (Items(lambda pixels: to_tensor(pixels) * 1.1), "Clamp them to 0–1"),
        (Items(lambda pixels: to_tensor(pixels) + torch.nan), "NaN"),
        (Items(lambda pixels: "nose.png"), "expected an array of numbers"),
        (Items(picture, str), "`labels`: expected an array of numbers"),
        (Items(picture, lambda label: label - 1), "`labels`: .* 0 or more, found -1 at 0"),
        (Items(picture, lambda label: np.eye(4)[label]), "`labels`: expected 10 whole numbers"),
        (Texts(picture), r"item 0: expected \(image, label\), found a dict"),
        (DataLoader(TensorDataset(TENSORS)), r"batch 0: expected \(image, label\), found a list"),
        (Items(unequal), "image 6: expected 3×5×4, as the others, found 3×5×3. Resize them"),
        (TensorDataset(TENSORS[:0], CLASSES[:0]), "the set is empty"),
    ],
)
def test_what_is_no_set_of_images(samples: Samples, message: str) -> None:
    with pytest.raises(InputError, match=f"^`clean_valid`.*{message}"):
        images_of_samples(samples, "clean_valid")


def test_a_stream_without_end_is_left_when_it_fills_the_memory() -> None:
    class Endless(IterableDataset[Any]):
        def __iter__(self) -> Iterator[tuple[Any, int]]:
            large = torch.zeros(3, 1, 1, dtype=torch.uint8).expand(3, 4096, 4096)
            while True:
                yield large, 0

    with pytest.raises(InputError, match="at most 2,147,483,648 bytes, found more"):
        images_of_samples(Endless(), "clean_valid")
