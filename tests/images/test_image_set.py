from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, random_images, write_faces
from ytf_torch.errors import InputError
from ytf_torch.images.hdf5_images import images_per_read, readers_for
from ytf_torch.images.image_set import UNLABELLED, ImageSet
from ytf_torch.images.opening import open_images, open_unlabelled

SHAPE = (3, 55, 47)
IMAGES = random_images(SMALL, 10)


def faces(path: Path, data: np.ndarray = IMAGES, labels=None) -> ImageSet:
    chosen = np.arange(len(data)) % 7 if labels is None else labels
    return open_images(write_faces(path / "valid.h5", data, chosen), SHAPE, classes=7)


@pytest.mark.parametrize("size", [1, 3, 10, 64])
@pytest.mark.parametrize("stored", [np.uint8, np.float64, np.float32, np.int16])
def test_batches_contain_every_image_in_order(tmp_path: Path, stored: type, size: int) -> None:
    batches = list(faces(tmp_path, IMAGES.astype(stored)).batches(size))
    pixels = torch.cat([batch.pixels for batch in batches])
    assert pixels.dtype == torch.uint8
    assert np.array_equal(pixels.numpy(), IMAGES)
    labels = torch.cat([batch.labels for batch in batches])
    assert labels.tolist() == [index % 7 for index in range(10)]
    assert [len(batch.labels) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert 0 < len(batches[-1].labels) <= size


@pytest.mark.parametrize("stored", [np.float64, np.float32, np.float16])
def test_fractional_values_become_float32_and_do_not_change_other_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: type
) -> None:
    monkeypatch.setattr("ytf_torch.images.hdf5_images.READ_BYTES", 1)
    data: np.ndarray = IMAGES.astype(stored)
    data[7, 1, 2, 3] += 0.5 if data[7, 1, 2, 3] < 100 else -0.5
    found = [batch.pixels for batch in faces(tmp_path, data).batches(2)]
    assert [pixels.dtype for pixels in found] == [*[torch.uint8] * 3, torch.float32, torch.uint8]
    assert np.array_equal(torch.cat(found).numpy(), data.astype(np.float32))


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (3, 10), (2, 7), (4, 4)])
def test_a_part_is_an_image_set_of_consecutive_images(
    tmp_path: Path, start: int, stop: int
) -> None:
    part = faces(tmp_path).part(1, 10).part(start - 1, stop - 1) if start else faces(tmp_path)
    found = [batch.pixels for batch in part.batches(3)]
    assert np.array_equal(torch.cat([torch.empty(0, *SHAPE), *found]).numpy(), IMAGES[start:stop])
    assert part.labels.tolist() == [index % 7 for index in range(start, stop)]
    if len(part):
        assert np.array_equal(part.select([0]).pixels.numpy(), IMAGES[start : start + 1])


@pytest.mark.parametrize("labels", [np.arange(10.0) % 7, (np.arange(10) % 7)[:, None]])
def test_labels_may_be_floats_or_a_column(tmp_path: Path, labels: np.ndarray) -> None:
    assert faces(tmp_path, labels=labels).labels.tolist() == [index % 7 for index in range(10)]


def test_a_set_of_black_images_is_accepted(tmp_path: Path) -> None:
    assert len(list(faces(tmp_path, np.zeros((2, 3, 55, 47))).batches())) == 1


@pytest.mark.parametrize("chunks", [None, (1, 3, 55, 47), (4, 1, 14, 12), (10, 3, 5, 5)])
@pytest.mark.parametrize("read_bytes", [1, 200_000, 2**24])
@pytest.mark.parametrize("whole_pieces_bytes", [1, 2**24])
def test_storage_layout_and_read_size_do_not_change_the_images(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunks: tuple[int, ...] | None,
    read_bytes: int,
    whole_pieces_bytes: int,
) -> None:
    monkeypatch.setattr("ytf_torch.images.hdf5_images.READ_BYTES", read_bytes)
    monkeypatch.setattr("ytf_torch.images.hdf5_images.WHOLE_PIECES_BYTES", whole_pieces_bytes)
    path = tmp_path / "valid.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "data", data=IMAGES.astype("f8"), chunks=chunks, compression=chunks and "gzip"
        )
        file["label"] = np.arange(10) % 7
    batches = list(open_images(path, SHAPE, classes=7).batches(3))
    assert [len(batch.labels) for batch in batches] == [3, 3, 3, 1]
    assert np.array_equal(torch.cat([batch.pixels for batch in batches]).numpy(), IMAGES)
    assert torch.cat([batch.labels for batch in batches]).tolist() == list(np.arange(10) % 7)


LAB_FILE = (11547, 3, 55, 47)


@pytest.mark.parametrize(
    ("itemsize", "chunks", "images"),
    [
        (8, None, 256),
        (1, None, 2112),
        (8, (1, 3, 55, 47), 270),
        (8, (100, 3, 55, 47), 200),
        (8, (722, 1, 7, 6), 722),
        (8, (11547, 1, 5, 5), 256),
        (1, (11547, 1, 5, 5), 11547),
    ],
)
def test_reads_are_about_16_mib_and_end_at_chunk_boundaries(
    itemsize: int, chunks: tuple[int, ...] | None, images: int
) -> None:
    assert images_per_read(LAB_FILE, itemsize, chunks, 64) == images


@pytest.mark.parametrize("readers", [1, 2, 3, 9])
@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_several_readers_keep_the_order_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: int, chunk: int
) -> None:
    monkeypatch.setattr("ytf_torch.images.hdf5_images.READ_BYTES", 1)
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file.create_dataset("data", data=IMAGES, chunks=(chunk, 3, 55, 47), compression="gzip")
        file["label"] = np.arange(10) % 7
    found = open_images(tmp_path / "valid.h5", SHAPE, classes=7)
    for part in (found, found.part(3, 8)):
        pixels = torch.cat([batch.pixels for batch in part.batches(3, readers)])
        assert np.array_equal(pixels.numpy(), IMAGES[part.first : part.first + len(part)])


@pytest.mark.parametrize(("cores", "readers"), [(1, 1), (2, 1), (4, 2), (8, 4), (64, 4)])
def test_half_the_cores_read_up_to_a_maximum(cores: int, readers: int) -> None:
    assert readers_for(cores) == readers


def test_a_file_is_closed_when_its_reader_stops_early(tmp_path: Path) -> None:
    batches = faces(tmp_path).batches(1)
    next(batches)
    batches.close()
    with h5py.File(tmp_path / "valid.h5", "r+"):
        pass


def test_a_damaged_chunk_is_reported_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "valid.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", data=IMAGES, chunks=(2, 3, 55, 47), compression="gzip")
        file["label"] = np.arange(10) % 7
        offset = data.id.get_chunk_info(3).byte_offset
    content = bytearray(path.read_bytes())
    content[offset : offset + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged HDF5 file"):
        list(open_images(path, SHAPE, classes=7).batches())


def test_an_unlabelled_set_needs_no_labels(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bd.h5", "w") as file:
        file["data"] = IMAGES
    found = open_unlabelled(tmp_path / "bd.h5", SHAPE)
    assert found.labels.tolist() == [UNLABELLED] * 10
    assert np.array_equal(torch.cat([batch.pixels for batch in found.batches()]).numpy(), IMAGES)
