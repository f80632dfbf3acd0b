from __future__ import annotations

import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ytf_torch.disk.hdf5 import dataset, listing, member_names, open_hdf5, read_array, subgroup
from ytf_torch.errors import InputError


def written(path: Path, **options: str) -> Path:
    with h5py.File(path, "w", **options) as file:
        file["data"] = np.zeros((4, 3, 8, 8))
        file["label"] = np.zeros(4)
        file.create_group("notes")
    return path


def opened(path: Path) -> list[str]:
    with open_hdf5(path) as file:
        return listing(file)


def test_the_root_is_listed_with_the_shapes_of_datasets(tmp_path: Path) -> None:
    assert opened(written(tmp_path / "a.h5")) == ["data (4×3×8×8)", "label (4)", "notes"]


def test_a_listing_is_short(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(1000):
            file.create_group(f"{number:0100}")
    found = opened(tmp_path / "a.h5")
    assert len(found) == 10
    assert {len(name) for name in found} == {40}


def test_a_truncated_file_is_reported_as_truncated(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5")
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=f"a.h5: truncated: 3,000 of {whole:,} bytes"):
        opened(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks files itself")
def test_a_file_open_for_writing_is_not_reported_as_damaged(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5")
    with h5py.File(path, "a"), pytest.raises(InputError, match="open for writing: close it there"):
        opened(path)
    assert len(opened(path)) == 3


def test_a_file_whose_writer_crashed_is_reported_with_the_remedy(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", libver="latest")
    with h5py.File(path, "a", libver="latest"):
        shutil.copy(path, tmp_path / "crashed.h5")
    with pytest.raises(InputError, match=r"marked as open for writing.*h5clear"):
        opened(tmp_path / "crashed.h5")


def test_the_members_of_a_group_are_listed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layers/dense/vars/0"] = np.arange(3)
        file.create_group("layers/dense_1")
    with open_hdf5(tmp_path / "a.h5") as root:
        layers = subgroup(root, "layers")
        assert member_names(layers) == ["dense", "dense_1"]
        assert read_array(dataset(layers, "dense/vars/0"), 100).tolist() == [0, 1, 2]


def test_a_group_of_too_many_members_is_not_listed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        for number in range(10_001):
            file.create_group(str(number))
    with open_hdf5(tmp_path / "a.h5") as root, pytest.raises(InputError, match="at most 10,000 m"):
        member_names(root)


def test_single_images_of_a_compressed_set_are_read_within_the_time_limit(tmp_path: Path) -> None:
    """Without the chunk cache each read decompresses a chunk of 64 images, which exceeded it."""
    faces = np.random.default_rng(0).integers(0, 256, (64, 3, 55, 47)).astype(np.float64)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=faces, compression="gzip", chunks=faces.shape)
    with open_hdf5(tmp_path / "a.h5") as file:
        data = dataset(file, "data")
        for index in range(1000):
            place = index % len(faces)
            assert (data.narrowed(place, place + 1)[0] == faces[place]).all()
