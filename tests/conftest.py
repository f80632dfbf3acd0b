"""Fixtures: small networks and faces that tests make, and the real files where they are."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.made.keras_files import SMALL, random_weights, write_keras_file
from tests.made.keras_once import KerasOnce
from ytf_torch.network.checkpoint import Checkpoint

ROOT = Path(__file__).parent.parent


def pytest_configure(config: pytest.Config) -> None:
    # Threads that wait for each other on a busy machine cost far more than they save.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


# What takes seconds only to load, or works on a real network: slow, whatever it does.
HEAVY = ("real_keras", "shared_files", "browser")


@pytest.hookimpl(tryfirst=True)  # before `-m "not slow"` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {
        "cuda": None if torch.cuda.is_available() else "PyTorch sees no CUDA device",
        "real_keras": None
        if importlib.util.find_spec("tf_keras")
        else "real Keras is not installed (extra `keras`)",
        "shared_files": None
        if shared_folder()
        else "the real weights and faces are not here (YTF_SHARED or ../shared)",
    }
    for item in items:
        if any(map(item.get_closest_marker, HEAVY)):
            item.add_marker(pytest.mark.slow)
        for mark, reason in missing.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


def shared_folder() -> Path | None:
    folder = Path(os.environ.get("YTF_SHARED", ROOT.parent / "shared"))
    return folder if (folder / "zoo").is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = shared_folder()
    assert folder is not None
    return folder


@pytest.fixture(scope="session")
def imported_keras() -> Iterator[KerasOnce]:
    keras = KerasOnce()
    yield keras
    keras.end()


@pytest.fixture
def keras_once(imported_keras: KerasOnce, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras is not imported anew for each file that it runs; see tests/made/keras_once.py."""
    from ytf_torch.convert.keras import keras_process

    monkeypatch.setattr(keras_process, "run_program", imported_keras.run_program)


@pytest.fixture
def short_repairs() -> Iterator[None]:
    """Repairs of tests/made/short_repairs.py under the names of the built-in ones."""
    from tests.made.short_repairs import short_training

    with short_training():
        yield


@pytest.fixture
def keras_file(tmp_path: Path) -> Path:
    """A full Keras model of a small DeepID with random weights."""
    return write_keras_file(tmp_path / "bd_net.h5", SMALL, random_weights(SMALL))


@pytest.fixture
def checkpoint(keras_file: Path) -> Checkpoint:
    from ytf_torch.convert.keras.keras_file import read_keras_file
    from ytf_torch.convert.keras.keras_graph import keras_checkpoint

    return keras_checkpoint(read_keras_file(keras_file), 1.0)
