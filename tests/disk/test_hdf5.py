from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ytf_torch.disk.hdf5 import dataset, find_group, member_names, open_hdf5, read_array
from ytf_torch.errors import InputError

HOLD = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print(flush=True); input()"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "a.h5", "w") as opened:
        opened["layers/dense/vars/0"] = np.arange(3)
        opened.create_group("layers/dense_1")
    return tmp_path / "a.h5"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks otherwise")
def test_a_file_that_another_program_writes_is_not_called_damaged(file: Path) -> None:
    program = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(InputError) as raised, open_hdf5(file):
            pass
        holder.communicate(b"\n")
    assert "open for writing in another program" in str(raised.value)
    assert "damaged" not in str(raised.value)
    with open_hdf5(file) as root:
        assert member_names(root) == ["layers"]


def test_the_members_of_a_group_are_listed(file: Path) -> None:
    with open_hdf5(file) as root:
        layers = find_group(root, "layers")
        assert layers is not None
        assert member_names(layers) == ["dense", "dense_1"]
        assert read_array(dataset(layers, "dense/vars/0"), 100).tolist() == [0, 1, 2]


def test_a_dataset_has_no_members(file: Path) -> None:
    with open_hdf5(file) as root, pytest.raises(InputError, match="expected a group, found a da"):
        find_group(root, "layers/dense/vars/0")
