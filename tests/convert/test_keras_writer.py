from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from convert.keras_graph import deepid_checkpoint
from convert.keras_h5 import read_keras_file
from convert.keras_writer import LAYOUT_OF, write_keras_file
from tests.made.keras_files import SMALL, WIDE, random_images
from ytf_torch.network.deepid import DeepID, DeepIDSizes


@pytest.mark.parametrize("sizes", [SMALL, WIDE, replace(SMALL, input_size=(63, 47))])
def test_what_is_written_reads_back_bit_for_bit(tmp_path: Path, sizes: DeepIDSizes) -> None:
    model = DeepID(sizes)
    write_keras_file(model, tmp_path / "net.h5")
    found = deepid_checkpoint(read_keras_file(tmp_path / "net.h5"), 1.0).model
    assert found.sizes == sizes
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


def test_the_file_says_whose_layout_it_follows_and_who_wrote_it(tmp_path: Path) -> None:
    write_keras_file(DeepID(SMALL), tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5") as file:
        assert file.attrs["keras_version"] == LAYOUT_OF
        assert file.attrs["writer"].startswith("ytf-torch ")
        names = file["model_weights"]["conv_3"].attrs["weight_names"]
        assert list(names) == ["conv_3/kernel:0", "conv_3/bias:0"]
        assert file["model_weights/conv_3/conv_3/kernel:0"].shape == (3, 3, 4, 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_configuration_names_the_precision_of_the_weights(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    write_keras_file(DeepID(SMALL).to(dtype), tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5") as file:
        layers = json.loads(file.attrs["model_config"])["config"]["layers"]
        stored = file["model_weights/fc_1/fc_1/kernel:0"].dtype
    assert {layer["config"]["dtype"] for layer in layers} == {str(stored)}
    assert f"torch.{stored}" == str(dtype)


@pytest.fixture
def keras() -> object:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tf_keras")


@pytest.mark.real_keras
def test_real_keras_loads_it_and_answers_alike(tmp_path: Path, keras: object) -> None:
    model = DeepID(SMALL).eval()
    write_keras_file(model, tmp_path / "net.h5")
    loaded = keras.models.load_model(tmp_path / "net.h5", compile=False)  # type: ignore[attr-defined]
    images = random_images(SMALL, 8)
    theirs = loaded.predict(images.transpose(0, 2, 3, 1).astype("float32"), verbose=0)
    with torch.inference_mode():
        ours = model(torch.from_numpy(images)).softmax(1)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)


@pytest.mark.real_keras
def test_real_keras_saves_it_again_as_it_was(tmp_path: Path, keras: object) -> None:
    """Every setting is written as Keras itself writes it; `optional` came after 2.14."""
    write_keras_file(DeepID(SMALL), tmp_path / "ours.h5")
    loaded = keras.models.load_model(tmp_path / "ours.h5", compile=False)  # type: ignore[attr-defined]
    loaded.save(tmp_path / "theirs.h5", save_format="h5")
    files = []
    for name in ("ours.h5", "theirs.h5"):
        with h5py.File(tmp_path / name) as file:
            config = json.loads(file.attrs["model_config"])
            config["config"]["layers"][0]["config"].pop("optional", None)
            arrays: dict[str, object] = {}
            file.visititems(lambda path, node, arrays=arrays: arrays.update({path: _content(node)}))
            files.append((config, arrays))
    assert files[0] == files[1]


def _content(node: object) -> object:
    if isinstance(node, h5py.Dataset):
        return (node.dtype, node[()].tobytes())
    assert isinstance(node, h5py.Group)
    return {
        key: np.asarray(node.attrs[key]).tolist() for key in ("weight_names",) if key in node.attrs
    }
