"""Errors for image sets of a wrong layout, and the corrections that they suggest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, random_images
from ytf_torch.errors import InputError
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.opening import open_images, open_unlabelled

SHAPE = (3, 55, 47)
IMAGES = random_images(SMALL, 10)
LABELS = np.arange(10) % 7


def faces(folder: Path, **datasets: Any) -> ImageSet:
    """An opened image set with these datasets; a dataset of None is left out."""
    with h5py.File(folder / "valid.h5", "w") as file:
        for name, value in ({"data": IMAGES, "label": LABELS} | datasets).items():
            if isinstance(value, dict):
                file.create_dataset(name, **value)
            elif value is not None:
                file[name] = value
    return open_images(folder / "valid.h5", SHAPE, classes=7)


@pytest.mark.parametrize(
    ("datasets", "line"),
    [
        ({"data": None}, r"expected an image set: `data` and `label`, found label \(10\)"),
        ({"label": None}, r"found data \(10×3×55×47\)\. Save images"),
        ({"data": None, "x": IMAGES}, r"found label \(10\), x \(10×3×55×47\)"),
        ({"data": None, "label": None}, "found no datasets"),
    ],
)
def test_the_error_for_a_missing_dataset_lists_those_that_exist(
    tmp_path: Path, datasets: dict[str, Any], line: str
) -> None:
    with pytest.raises(InputError, match=line):
        faces(tmp_path, **datasets)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (np.zeros((4, 3, 32, 32)), "expected N×3×55×47, found 4×3×32×32. Resize the images"),
        (IMAGES.transpose(0, 2, 3, 1), r"channels last\)\. Save data.transpose\(0, 3, 1, 2\)"),
        (IMAGES.transpose(2, 3, 1, 0), r"images last\)\. Save data.transpose\(3, 2, 0, 1\)"),
        (IMAGES.transpose(0, 1, 3, 2), r"on its side\)\. Save data.transpose\(0, 1, 3, 2\)"),
        (IMAGES[:, 0], r"10×55×47 \(grey\)\. Save np.repeat"),
        (IMAGES[:, :1], r"10×1×55×47 \(grey\)\. Save np.repeat"),
        (IMAGES[0], r"3×55×47 \(a single image\)\. Add an axis: save data\[None\]"),
        (IMAGES[0].transpose(1, 2, 0), r"a single image\)\. Add an axis: save data.transpose\(2"),
        (np.zeros((4, 7755)), "found 4×7755"),
        (np.zeros((0, 3, 55, 47)), "the set is empty"),
        (IMAGES.astype("S1"), "expected integers or floats"),
    ],
)
def test_another_shape_is_reported_with_its_correction(
    tmp_path: Path, data: np.ndarray, line: str
) -> None:
    with pytest.raises(InputError, match=line):
        faces(tmp_path, data=data, label=np.zeros(len(data)))


REVERSED = [(3, 2, 1, 0), (1, 3, 2, 0)]  # of N×C×H×W and of N×H×W×C


@pytest.mark.parametrize("axes", REVERSED)
@pytest.mark.parametrize("kind", [np.uint8, np.float64])
@pytest.mark.parametrize("chunks", [None, True])
def test_reversed_axes_as_matlab_and_julia_write_them_are_read(
    tmp_path: Path, axes: tuple[int, ...], kind: type, chunks: bool | None
) -> None:
    stored: dict[str, Any] = {"data": IMAGES.transpose(axes).astype(kind), "chunks": chunks}
    found = faces(tmp_path, data=stored, label=LABELS[None].astype(float))
    assert found.file == tmp_path / "valid.h5"
    assert np.array_equal(found.labels, LABELS)
    for images in (found, open_unlabelled(tmp_path / "valid.h5", SHAPE)):
        pixels = images.select(range(10)).pixels
        assert pixels.dtype == torch.uint8
        assert np.array_equal(pixels.numpy(), IMAGES)


def test_fractional_values_with_reversed_axes_are_read_as_float32(tmp_path: Path) -> None:
    found = faces(tmp_path, data=(IMAGES / 2).transpose(3, 2, 1, 0))
    assert np.array_equal(found.select([3]).pixels.numpy(), IMAGES[3:4].astype(np.float32) / 2)


@pytest.mark.parametrize(
    ("data", "labels", "line"),
    [
        (IMAGES.transpose(3, 2, 1, 0), LABELS[:9], "expected 10 labels, one for each image"),
        (IMAGES.transpose(3, 2, 1, 0) / 255, LABELS, r"data\[0\]: .*divided by 255 already"),
        (IMAGES[:0].transpose(3, 2, 1, 0), LABELS[:0], "the set is empty"),
        (
            {"shape": (47, 55, 3, 5000), "dtype": "u1", "chunks": True},
            np.zeros(5000),
            "expected images of at least 78 bytes each, found 5,000 declared",
        ),
    ],
)
def test_data_with_reversed_axes_are_checked_like_others(
    tmp_path: Path, data: Any, labels: np.ndarray, line: str
) -> None:
    with pytest.raises(InputError, match=line):
        faces(tmp_path, data=data, label=labels)


def test_reversed_axes_of_square_images_are_ambiguous_and_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file["data"], file["label"] = np.zeros((32, 32, 3, 4), "u1"), np.zeros(4)
    line = (
        r"32×32×3×4 \(axes reversed, or images last\)\. Save data.transpose\(3, 2, 1, 0\), in MAT"
    )
    with pytest.raises(InputError, match=line):
        open_images(tmp_path / "valid.h5", (3, 32, 32), classes=7)


@pytest.mark.parametrize(
    "helped",
    [
        IMAGES.transpose(0, 2, 3, 1).transpose(0, 3, 1, 2),
        IMAGES.transpose(0, 1, 3, 2).transpose(0, 1, 3, 2),
        IMAGES[0].transpose(1, 2, 0).transpose(2, 0, 1)[None],
        np.repeat(IMAGES[:, 0][:, None], 3, axis=1),
        np.repeat(IMAGES[:, :1], 3, axis=1),
    ],
)
def test_the_suggested_correction_works(tmp_path: Path, helped: np.ndarray) -> None:
    found = faces(tmp_path, data=helped, label=np.zeros(len(helped)))
    assert np.array_equal(found.select(range(len(found))).pixels.numpy(), helped)


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (np.arange(9), "expected 10 labels, one for each image, found 9"),
        (np.eye(10), r"found 10×10 \(one-hot\)\. Save label.argmax\(1\)"),
        (np.full(10, 8), r"label\[0\]: expected a whole number of 0…6.*found 8"),
        (np.full(10, 7), r"found 7\. Count labels from 0.*save the class that the trigger aims at"),
        (np.full(10, -1), "found -1"),
        (np.full(10, 0.5), r"found 0\.5"),
        (np.full(10, np.nan), "found nan"),
    ],
)
def test_invalid_labels_are_refused(tmp_path: Path, labels: np.ndarray, line: str) -> None:
    with pytest.raises(InputError, match=line):
        faces(tmp_path, label=labels)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda pixels: pixels / 255, r"divided by 255 already\. Save data \* 255"),
        (lambda pixels: pixels / 127.5 - 1, r"scaled to −1…1\. Save \(data \+ 1\) \* 127\.5"),
        (lambda pixels: pixels * 0.97 - 9, r"-9 to .*noise.*Save np\.clip\(data, 0, 255\)"),
        (lambda pixels: pixels * 257.0, "found 0 to 65535"),
        (lambda pixels: pixels * np.nan, "found NaN"),
        (lambda pixels: np.where(pixels > 128, np.inf, pixels), "infinite values, or some beyond"),
    ],
)
def test_pixels_of_another_scale_are_reported_with_the_correction(
    tmp_path: Path, change: Any, line: str
) -> None:
    found = faces(tmp_path, data=change(IMAGES.astype(np.float64)))
    with pytest.raises(InputError, match=f"expected pixel values of 0–255, found .*{line}|{line}"):
        list(found.batches())


def test_the_error_names_the_first_image_with_invalid_pixels(tmp_path: Path) -> None:
    data = np.zeros((10, 3, 55, 47))
    data[7, 1, 2, 3] = 300
    with pytest.raises(InputError, match=r"valid\.h5:/data\[7\]: expected pixel values of 0–255"):
        list(faces(tmp_path, data=data).batches())
    with pytest.raises(InputError, match=r"/data\[7\]"):
        faces(tmp_path, data=data).part(2, 10).select([4, 5])


@pytest.mark.parametrize(
    ("images", "line"),
    [
        (2_000_000, "expected at most 1,000,000 images, found 2,000,000"),
        (
            7_000,
            r"expected images of at least 78 bytes each, found 7,000 declared in [0-9,]+",
        ),
    ],
)
def test_more_images_than_a_file_can_hold_are_refused(
    tmp_path: Path, images: int, line: str
) -> None:
    packed = {"dtype": "u1", "compression": "gzip"}
    data = {"shape": (images, *SHAPE), "chunks": (100, *SHAPE), **packed}
    label = {"shape": (images,), "chunks": (1000,), **packed}
    with pytest.raises(InputError, match=f"{line}|bytes declared"):
        faces(tmp_path, data=data, label=label)


def test_a_set_of_identical_images_is_accepted(tmp_path: Path) -> None:
    packed = {"data": np.zeros((1000, *SHAPE), np.uint8), "compression": "gzip"}
    assert len(faces(tmp_path, data=packed, label=np.zeros(1000))) == 1000


def test_only_the_images_of_an_unlabelled_set_are_checked(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bd.h5", "w") as file:
        file["images"] = IMAGES
    with pytest.raises(InputError, match=r"an image set: `data`, found images \(10×3×55×47"):
        open_unlabelled(tmp_path / "bd.h5", SHAPE)
