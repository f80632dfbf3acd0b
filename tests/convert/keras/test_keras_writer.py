from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import h5py
import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, WIDE, random_images
from tests.made.real_keras import real_keras
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.convert.keras.keras_writer import (
    LAYOUT_OF,
    keras_arrays,
    write_keras_archive,
    write_keras_h5,
    write_keras_weights,
)
from ytf_torch.network.deepid import DeepIDSizes, deepid, deepid_graph

WRITERS = {
    "net.h5": write_keras_h5,
    "net.weights.h5": write_keras_weights,
    "net.keras": write_keras_archive,
}


@pytest.mark.parametrize("sizes", [SMALL, WIDE, replace(SMALL, input_size=(63, 47))])
def test_what_is_written_reads_back_bit_for_bit(tmp_path: Path, sizes: DeepIDSizes) -> None:
    model = deepid(sizes)
    write_keras_h5(tmp_path / "net.h5", model)
    found = keras_checkpoint(read_keras_file(tmp_path / "net.h5"), 1.0).model
    assert found.graph == deepid_graph(sizes)
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


@pytest.mark.parametrize("name", WRITERS)
def test_equal_networks_give_equal_bytes(tmp_path: Path, name: str) -> None:
    model = deepid(SMALL)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        WRITERS[name](tmp_path / folder / name, model)
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_file_says_whose_layout_it_follows_and_who_wrote_it(tmp_path: Path) -> None:
    write_keras_h5(tmp_path / "net.h5", deepid(SMALL))
    with h5py.File(tmp_path / "net.h5") as file:
        assert file.attrs["keras_version"] == LAYOUT_OF.encode()
        assert file.attrs["writer"].startswith("ytf-torch ")
        names = file["model_weights"]["conv_3"].attrs["weight_names"]
        assert list(names) == [b"conv_3/kernel:0", b"conv_3/bias:0"]
        assert file["model_weights/conv_3/conv_3/kernel:0"].shape == (3, 3, 4, 6)


def test_the_archive_has_the_three_members_of_keras_and_weights_under_classes(
    tmp_path: Path,
) -> None:
    model = deepid(SMALL)
    write_keras_archive(tmp_path / "net.keras", model)
    with ZipFile(tmp_path / "net.keras") as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        with archive.open("model.weights.h5") as member, h5py.File(member) as file:
            assert file["layers/conv2d_2/vars"].attrs["name"] == "conv_3"
            kernel = file["layers/conv2d_2/vars/0"][()]
            assert list(file["layers/dense_1/vars"]) == ["0", "1"]
    np.testing.assert_array_equal(kernel, keras_arrays(model)["conv_3"]["kernel"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_configuration_names_the_precision_of_the_weights(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    write_keras_h5(tmp_path / "net.h5", deepid(SMALL).to(dtype))
    with h5py.File(tmp_path / "net.h5") as file:
        layers = json.loads(file.attrs["model_config"])["config"]["layers"]
        stored = file["model_weights/fc_1/fc_1/kernel:0"].dtype
    assert {layer["config"]["dtype"] for layer in layers} == {str(stored)}
    assert f"torch.{stored}" == str(dtype)


@pytest.mark.real_keras
@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@pytest.mark.parametrize("name", ["net.h5", "net.keras"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_real_keras_loads_it_and_answers_alike(
    tmp_path: Path, library: str, name: str, dtype: torch.dtype
) -> None:
    model = deepid(SMALL).to(dtype).eval()
    WRITERS[name](tmp_path / name, model)
    loaded = real_keras(library).models.load_model(tmp_path / name, compile=False)
    images = random_images(SMALL, 8)
    theirs = loaded.predict(images.transpose(0, 2, 3, 1).astype("float32"), verbose=0)
    with torch.inference_mode():
        ours = model(torch.from_numpy(images)).softmax(1)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)
    for weights, layer in ((w, n) for n, w in keras_arrays(model).items()):
        for part, array in zip(
            weights.values(), loaded.get_layer(layer).get_weights(), strict=True
        ):
            assert part.tobytes() == np.ascontiguousarray(array).tobytes(), layer


@pytest.mark.real_keras
@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@pytest.mark.parametrize("name", WRITERS)
def test_real_keras_loads_the_weights_into_a_network_built_alike(
    tmp_path: Path, library: str, name: str
) -> None:
    keras, model = real_keras(library), deepid(SMALL)
    write_keras_h5(tmp_path / "other.h5", deepid(SMALL))
    WRITERS[name](tmp_path / name, model)
    network = keras.models.load_model(tmp_path / "other.h5", compile=False)
    network.load_weights(str(tmp_path / name))
    for layer, weights in keras_arrays(model).items():
        kernel, bias = network.get_layer(layer).get_weights()
        np.testing.assert_array_equal(kernel, weights["kernel"])
        np.testing.assert_array_equal(bias, weights["bias"])


@pytest.mark.real_keras
def test_real_keras_saves_it_again_as_it_was(tmp_path: Path) -> None:
    """Every setting is written as by Keras itself; `optional` was added after 2.14."""
    write_keras_h5(tmp_path / "ours.h5", deepid(SMALL))
    loaded = real_keras("tf_keras").models.load_model(tmp_path / "ours.h5", compile=False)
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
        key: np.asarray(node.attrs[key]).astype(str).tolist()
        for key in ("weight_names",)
        if key in node.attrs
    }
