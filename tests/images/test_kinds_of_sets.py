"""The same images give the same batches, labels and results, whatever kind of set stores them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from ytf_torch.errors import InputError
from ytf_torch.images.arrays import images_of
from ytf_torch.images.image_set import UNLABELLED, ImageSet
from ytf_torch.images.opening import open_images, open_unlabelled
from ytf_torch.images.overlap import shared_images
from ytf_torch.images.repeated import find_repeated

CLASSES = 4
COUNT = 70
SHAPES = [(1, 12, 9), (3, 12, 9), (4, 12, 9)]
# Sorted by label, which is the order of the images of a folder.
LABELS = np.sort(np.arange(COUNT) % CLASSES)
NAMES = ("cat", "dog", "fox", "owl")


def images_of_shape(shape: tuple[int, int, int]) -> np.ndarray:
    pixels = np.random.default_rng(1).integers(0, 256, (COUNT, *shape), np.uint8)
    if shape[0] == 4:
        pixels[:, 3] = 255  # where alpha is less, colours are not kept to the last bit
    return pixels


def as_hdf5(folder: Path, pixels: np.ndarray) -> Path:
    with h5py.File(folder / "images.h5", "w") as file:
        file["data"], file["label"] = pixels, LABELS
    return folder / "images.h5"


def npz(*axes: int, x: str = "x", y: str = "y", dtype: str = "u1") -> Callable[..., Path]:
    def write(folder: Path, pixels: np.ndarray) -> Path:
        arrays: dict[str, Any] = {x: pixels.transpose(axes).astype(dtype), y: LABELS}
        np.savez_compressed(folder / "images.npz", **arrays)
        return folder / "images.npz"

    return write


def folders(*names: str) -> Callable[..., Path]:
    """A folder of images, each in the folder of its class."""

    def write(folder: Path, pixels: np.ndarray) -> Path:
        for name in names:
            (folder / "images" / name).mkdir(parents=True)
        for number, (picture, label) in enumerate(zip(pixels, LABELS, strict=True)):
            image = Image.fromarray(picture.transpose(1, 2, 0).squeeze())
            image.save(folder / "images" / names[label] / f"{number:03}.png")
        return folder / "images"

    return write


STORED = {
    "hdf5": as_hdf5,
    "npz, channels first": npz(0, 1, 2, 3),
    "npz, channels last": npz(0, 2, 3, 1),
    "npz, floats": npz(0, 2, 3, 1, dtype="f4"),
    "npz, big-endian": npz(0, 2, 3, 1, dtype=">f8"),
    "npz, of a test": npz(0, 2, 3, 1, x="x_test", y="y_test"),
    "npz, of training": npz(0, 2, 3, 1, x="x_train", y="y_train"),
    "npz, as the lab names them": npz(0, 1, 2, 3, x="data", y="label"),
    "folders of names": folders(*NAMES),
    "folders of labels": folders("0", "1", "2", "3"),
    "folders of padded labels": folders("00", "01", "02", "03"),
}


@pytest.fixture(params=SHAPES, ids=["grey", "RGB", "RGBA"])
def shape(request: pytest.FixtureRequest) -> tuple[int, int, int]:
    found: tuple[int, int, int] = request.param
    return found


@pytest.fixture(params=[*STORED, "arrays", "tensors"])
def images(request: pytest.FixtureRequest, tmp_path: Path, shape: tuple[int, int, int]) -> ImageSet:
    pixels = images_of_shape(shape)
    if request.param == "arrays":
        return images_of(pixels, LABELS)
    if request.param == "tensors":
        return images_of(torch.from_numpy(pixels), torch.from_numpy(LABELS))
    return open_images(STORED[request.param](tmp_path, pixels), shape, CLASSES)


def test_every_kind_of_set_gives_these_images(
    images: ImageSet, shape: tuple[int, int, int]
) -> None:
    assert isinstance(images, ImageSet)
    assert images.input_shape == shape
    assert images.labels.tolist() == LABELS.tolist()
    batches = list(images.batches(32))
    assert [len(batch.labels) for batch in batches] == [32, 32, 6]
    found = torch.cat([batch.pixels for batch in batches])
    assert found.dtype == torch.uint8
    assert np.array_equal(found.numpy(), images_of_shape(shape))
    assert torch.cat([batch.labels for batch in batches]).tolist() == LABELS.tolist()


def test_parts_labels_lines_and_single_images(
    images: ImageSet, shape: tuple[int, int, int]
) -> None:
    part = images.part(10, 60).part(5, 50)
    assert (part.first, len(part)) == (15, 45)
    assert part.labels.tolist() == LABELS[15:60].tolist()
    assert np.array_equal(part.select([3, 0]).pixels.numpy(), images_of_shape(shape)[[18, 15]])
    assert set(images.labelled(2).labels) == {2}
    assert images.labelled(LABELS[::-1]).labels.tolist() == LABELS[::-1].tolist()
    lines = np.concatenate(list(part.lines(1, 4)))
    assert np.array_equal(lines, images_of_shape(shape)[15:60, :, 1::4])


def test_sets_of_other_kinds_are_recognised_as_the_same_images(
    images: ImageSet, shape: tuple[int, int, int]
) -> None:
    others = images_of(images_of_shape(shape)[::-1].copy(), LABELS)
    assert find_repeated([images_of(images_of_shape(shape), LABELS), images]) == (0, 1)
    assert shared_images([others, images]) == {(0, 1): COUNT}
    assert images.paired_with(others).places.tolist() == list(range(COUNT))[::-1]


@pytest.mark.parametrize("kind", STORED)
def test_images_without_labels(tmp_path: Path, shape: tuple[int, int, int], kind: str) -> None:
    found = open_unlabelled(STORED[kind](tmp_path, images_of_shape(shape)), shape)
    assert set(found.labels) == {UNLABELLED}
    assert np.array_equal(found.select(range(COUNT)).pixels.numpy(), images_of_shape(shape))


def test_grey_images_need_no_channel_axis(tmp_path: Path) -> None:
    pixels = images_of_shape((1, 12, 9))
    np.savez(tmp_path / "a.npz", x=pixels[:, 0], y=LABELS[:, None])
    found = open_images(tmp_path / "a.npz", (1, 12, 9), CLASSES)
    assert np.array_equal(found.select(range(COUNT)).pixels.numpy(), pixels)


def test_fractional_values_are_kept(tmp_path: Path) -> None:
    pixels = images_of_shape((3, 12, 9)) * 0.5
    np.savez(tmp_path / "a.npz", x=pixels, y=LABELS)
    (batch,) = open_images(tmp_path / "a.npz", (3, 12, 9), CLASSES).batches(COUNT)
    assert np.array_equal(batch.pixels.numpy(), pixels.astype(np.float32))


class TestFolders:
    SHAPE = (3, 12, 9)

    def test_names_are_the_classes_in_sorted_order(self, tmp_path: Path) -> None:
        path = folders("owl", "Dog", "cat", "fox")(tmp_path, images_of_shape(self.SHAPE))
        found = open_images(path, self.SHAPE, CLASSES)
        assert found.class_names == ("Dog", "cat", "fox", "owl")
        counts = np.bincount(LABELS)
        assert np.bincount(found.labels).tolist() == counts[[1, 2, 3, 0]].tolist()

    def test_numbers_are_the_labels_themselves(self, tmp_path: Path) -> None:
        path = folders("10", "2", "31", "0")(tmp_path, images_of_shape(self.SHAPE))
        found = open_images(path, self.SHAPE, classes=43)
        assert found.class_names is None
        counts = np.bincount(LABELS)
        assert found.labels.tolist() == np.repeat([0, 2, 10, 31], counts[[3, 1, 0, 2]]).tolist()

    def test_other_files_hidden_ones_and_links_are_ignored(self, tmp_path: Path) -> None:
        path = folders(*NAMES)(tmp_path, images_of_shape(self.SHAPE))
        (path / "cat" / "labels.csv").write_text("a,b")
        (path / "cat" / ".hidden.png").touch()
        (path / "cat" / "link.png").symlink_to(path / "dog" / "000.png")
        (path / ".hidden").mkdir()
        (path / "notes.txt").touch()
        assert len(open_images(path, self.SHAPE, CLASSES)) == COUNT

    def test_images_are_cropped_and_resized_like_photos(self, tmp_path: Path) -> None:
        (tmp_path / "0").mkdir()
        Image.new("RGB", (200, 100), "orange").save(tmp_path / "0" / "a.jpg", quality=95)
        found = open_images(tmp_path, (3, 12, 9), CLASSES).select([0]).pixels
        assert found.shape == (1, 3, 12, 9)
        assert open_images(tmp_path, (1, 5, 5), CLASSES).input_shape == (1, 5, 5)

    def test_each_class_needs_a_folder_even_if_it_is_empty(self, tmp_path: Path) -> None:
        path = folders(*NAMES)(tmp_path, images_of_shape(self.SHAPE))
        (path / "yak").mkdir()
        with pytest.raises(InputError, match=r"expected 4 folders, one a class .* found 5"):
            open_images(path, self.SHAPE, CLASSES)
        assert open_images(path, self.SHAPE, CLASSES + 1).class_names == (*NAMES, "yak")

    @pytest.mark.parametrize(
        ("files", "line"),
        [
            ([], "expected a folder for each class, .* found 0 images and no folder"),
            (["a.png"], "found 1 images and no folder. Move the images of each class"),
            (["0/notes.txt"], "none of its folders contains an image"),
            (["0/a.png", "4/a.png"], "4: expected a label of 0…3.* Count labels from 0"),
            (["0/a.png", "7/a.png"], "7: expected a label of 0…3, for a model of 4 classes"),
            (["1/a.png", "01/a.png"], "another folder is called 1 too"),
            (["0/a.png", "1/b.png"], "b.png: expected a photo .* found an empty file"),
        ],
    )
    def test_a_folder_that_is_not_an_image_set_is_refused(
        self, tmp_path: Path, files: list[str], line: str
    ) -> None:
        folder = tmp_path / "images"
        folder.mkdir()
        for name in files:
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            if name.endswith("a.png"):
                Image.new("RGB", (9, 12)).save(path)
            else:
                path.touch()
        with pytest.raises(InputError, match=line):
            open_images(folder, self.SHAPE, CLASSES)


PIXELS = images_of_shape((3, 12, 9))


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"a": PIXELS, "b": LABELS}, "expected images and labels: `x` and `y`, .* found `a`, `b`"),
        ({"x": PIXELS}, "expected `y`, the labels of `x`, found `x`"),
        (
            {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS, "y_test": LABELS},
            "expected one set of images, found `x_test` and `x_train`. Save only the set that you",
        ),
        ({"x": PIXELS, "y": np.eye(4)[LABELS]}, r"found 70×4 \(one-hot\)\. Save y.argmax\(1\)"),
        ({"x": PIXELS, "y": LABELS[:9]}, "expected 70 labels, one for each image, found 9"),
        ({"x": PIXELS, "y": LABELS + 1}, r":y\[.*expected a whole number of 0…3.* found 4"),
        ({"x": PIXELS[:0], "y": LABELS[:0]}, "the set is empty"),
        ({"x": PIXELS[:, :1], "y": LABELS}, r"70×1×12×9 \(grey\)\. Save np.repeat\(x, 3, axis=1"),
        ({"x": PIXELS[:, 0], "y": LABELS}, r"70×12×9 \(grey\)\. Save np.repeat\(x\[:, None\], 3"),
        ({"x": PIXELS[:, :, :6], "y": LABELS}, "expected N×3×12×9, found 70×3×6×9. Resize"),
        ({"x": PIXELS / 255, "y": LABELS}, r"x\[0\]: .* divided by 255 already. Save x \* 255"),
        ({"x": PIXELS / 127.5 - 1, "y": LABELS}, r"scaled to −1…1. Save \(x \+ 1\) \* 127.5"),
        ({"x": PIXELS.astype(object), "y": LABELS}, "x.npy: expected"),
        ({"x": PIXELS.astype("c8"), "y": LABELS}, "expected integers or floats"),
        ({"x": np.asfortranarray(PIXELS), "y": LABELS}, "save it in C order"),
    ],
)
def test_an_archive_that_is_not_an_image_set_is_refused(
    tmp_path: Path, arrays: dict[str, Any], line: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=line):
        open_images(tmp_path / "a.npz", (3, 12, 9), CLASSES)


def test_another_file_is_reported_by_its_kind(tmp_path: Path) -> None:
    Image.new("RGB", (9, 12)).save(tmp_path / "a.png")
    line = "expected an HDF5 file, an .npz or a folder of images, found a PNG image"
    with pytest.raises(InputError, match=line):
        open_images(tmp_path / "a.png", (3, 12, 9), CLASSES)


def test_an_array_that_declares_far_more_than_its_file_holds_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((900_000, 1, 12, 9), np.uint8), y=LABELS)
    with pytest.raises(InputError, match="bytes declared in"):
        open_images(tmp_path / "a.npz", (1, 12, 9), CLASSES)
