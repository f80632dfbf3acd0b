from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.made.keras_files import SMALL, random_weights, write_keras_file
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.errors import InputError


def test_a_full_model_tells_its_layers_weights_and_origin(keras_file: Path) -> None:
    file = read_keras_file(keras_file)
    assert file.keras_version == "2.14.0"
    assert file.network is not None
    assert file.network.flat.outputs == ("output",)
    add = next(layer for layer in file.network.flat.layers if layer.class_name == "Add")
    assert add.inbound == ("fc_1", "fc_2")
    assert set(file.weights) == {"conv_1", "conv_2", "conv_3", "conv_4", "fc_1", "fc_2", "output"}
    np.testing.assert_array_equal(
        file.weights["conv_2"]["kernel"], random_weights(SMALL)["conv_2"][0]
    )


def test_the_digest_is_of_the_whole_file(keras_file: Path) -> None:
    import hashlib

    assert read_keras_file(keras_file).sha256 == hashlib.sha256(keras_file.read_bytes()).hexdigest()


def test_a_weights_only_file_has_no_graph(tmp_path: Path) -> None:
    path = write_keras_file(tmp_path / "w.h5", SMALL, random_weights(SMALL), full_model=False)
    assert read_keras_file(path).network is None


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([[["pool_3", 0, 0, {}]]], id="Keras 2"),
        pytest.param([[["pool_3", 0, 0]]], id="without arguments"),
        pytest.param(
            [
                {
                    "args": [
                        {
                            "class_name": "__keras_tensor__",
                            "config": {"keras_history": ["pool_3", 0, 0]},
                        }
                    ],
                    "kwargs": {},
                }
            ],
            id="Keras 3",
        ),
    ],
)
def test_references_between_layers_are_read_in_every_form(tmp_path: Path, nodes: list) -> None:
    def edit(config: dict) -> None:
        for layer in config["config"]["layers"]:
            if layer["name"] == "conv_4":
                layer["inbound_nodes"] = nodes
        config["config"]["output_layers"] = ["output", 0, 0]

    path = write_keras_file(tmp_path / "net.h5", SMALL, random_weights(SMALL), edit=edit)
    network = read_keras_file(path).network
    assert network is not None
    layers = {layer.name: layer for layer in network.flat.layers}
    assert layers["conv_4"].inbound == ("pool_3",)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.h5: no such file"):
        read_keras_file(tmp_path / "none.h5")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"not hdf5 at all" * 100, "a text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html><title>Quota exceeded</title></html>", "a web page"),
        (b"\x89PNG\r\n", "a PNG image"),
        (
            b"\x02\0\0\0\0\0\0\0{}",
            r"a safetensors file\. One of ytf-convert's is converted already",
        ),
    ],
)
def test_a_file_that_is_not_kerass_is_refused_and_named(
    tmp_path: Path, content: bytes, found: str
) -> None:
    path = tmp_path / "net.h5"
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=rf"expected a Keras file \(\.h5 or \.keras\), found .*{found}"
    ):
        read_keras_file(path)


@pytest.mark.parametrize("kept", [9, 100, 2000, 20_000])
def test_a_truncated_file_is_refused(keras_file: Path, kept: int) -> None:
    keras_file.write_bytes(keras_file.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"damaged|truncated"):
        read_keras_file(keras_file)


def test_an_hdf5_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "faces.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(InputError, match="expected a Keras model"):
        read_keras_file(tmp_path / "faces.h5")


def damage(path: Path, change) -> None:
    with h5py.File(path, "r+") as file:
        change(file["model_weights"])


def replace_kernel(group: h5py.Group, **dataset) -> None:
    del group["conv_3/conv_3/kernel:0"]
    group["conv_3/conv_3"].create_dataset("kernel:0", **dataset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda g: g.__delitem__("conv_3/conv_3/kernel:0"), "expected a dataset", id="missing"
        ),
        pytest.param(lambda g: g.__delitem__("conv_3"), "conv_3: expected a group", id="no group"),
        pytest.param(
            lambda g: replace_kernel(g, data=np.full((3, 3, 4, 6), np.nan, np.float32)),
            "NaN or infinite",
            id="NaN",
        ),
        pytest.param(
            lambda g: replace_kernel(g, data=np.zeros((3, 3, 4, 6), "V2")),
            "bfloat16",
            id="bfloat16",
        ),
        pytest.param(
            lambda g: replace_kernel(g, data=np.zeros((3, 3, 4, 6), np.int32)),
            "quantised weights, of int32",
            id="integers",
        ),
        pytest.param(
            lambda g: replace_kernel(g, shape=(2**20, 2**20), dtype="f4", chunks=(64, 64)),
            "bytes declared",
            id="petabytes declared",
        ),
        pytest.param(
            lambda g: replace_kernel(
                g, shape=(3, 3, 4, 6), dtype="f4", external=[("/etc/passwd", 0, 864)]
            ),
            "external storage",
            id="external storage",
        ),
        pytest.param(
            lambda g: (
                g["conv_3/conv_3"].__setitem__("kernel:0", h5py.SoftLink("/elsewhere"))
                if g["conv_3/conv_3"].pop("kernel:0") is not None
                else None
            ),
            "soft link",
            id="soft link",
        ),
        pytest.param(
            lambda g: g.attrs.__setitem__("layer_names", ["conv_1", "conv_1"]),
            "named twice",
            id="duplicate names",
        ),
    ],
)
def test_damaged_weights_are_named(keras_file: Path, change, message: str) -> None:
    damage(keras_file, change)
    with pytest.raises(InputError, match=message) as caught:
        read_keras_file(keras_file)
    assert str(keras_file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", ["", "{", "[]", "null", '{"class_name": "Sequential"}', "{}"])
def test_a_config_that_is_no_functional_model_is_refused(keras_file: Path, config: str) -> None:
    with h5py.File(keras_file, "r+") as file:
        file.attrs["model_config"] = config
    with pytest.raises(InputError, match="model_config"):
        read_keras_file(keras_file)
