"""Sequential and nested models, and weights-only files with an architecture: read as Keras reads
them, and refused where Keras would read another network."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from tests.made.real_keras import real_keras
from ytf_torch.convert import read_keras_model
from ytf_torch.convert.keras.keras_oracle import compare_with_keras
from ytf_torch.convert.keras.keras_writer import keras_arrays
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import save_checkpoint

Config = dict[str, Any]


def layer(class_name: str, name: str, **config: Any) -> Config:
    return {"class_name": class_name, "config": {"name": name, **config}}


def convolution(name: str, **config: Any) -> Config:
    return layer("Conv2D", name, filters=4, kernel_size=[3, 3], activation="relu", **config)


def sequential(name: str, *layers: Config) -> Config:
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


SHAPE = {"batch_input_shape": [None, 9, 8, 2]}
BODY = sequential(
    "body",
    convolution("conv_1", **SHAPE),
    layer("BatchNormalization", "norm"),
    convolution("conv_2"),
)
HEAD = sequential(
    "head",
    layer("Flatten", "flat", batch_input_shape=[None, 5, 4, 4]),
    layer("Dense", "out", units=3, activation="softmax"),
)
NESTED = sequential("net", BODY, HEAD)
FLAT = sequential("net", *BODY["config"]["layers"], *HEAD["config"]["layers"])

rng = np.random.default_rng(5)
ARRAYS: dict[str, np.ndarray] = {
    "conv_1/kernel": rng.normal(size=(3, 3, 2, 4)),
    "conv_1/bias": rng.normal(size=4),
    "norm/gamma": rng.normal(size=4),
    "norm/beta": rng.normal(size=4),
    "norm/moving_mean": rng.normal(size=4),
    "norm/moving_variance": rng.uniform(1, 2, size=4),
    "conv_2/kernel": rng.normal(size=(3, 3, 4, 4)),
    "conv_2/bias": rng.normal(size=4),
    "out/kernel": rng.normal(size=(80, 3)),
    "out/bias": rng.normal(size=3),
}
TRAINED_FIRST = [
    *("conv_1/kernel", "conv_1/bias", "norm/gamma", "norm/beta", "conv_2/kernel", "conv_2/bias"),
    *("norm/moving_mean", "norm/moving_variance"),
]
LISTED = {"body": TRAINED_FIRST, "head": ["out/kernel", "out/bias"]}
BY_LAYER = {
    name: [path for path in ARRAYS if path.startswith(f"{name}/")]
    for name in ("conv_1", "norm", "conv_2", "out")
}


def write(
    path: Path,
    config: Config | None = NESTED,
    listed: dict[str, list[str]] = LISTED,
    edit: Callable[[h5py.Group], object] = lambda group: None,
) -> Path:
    with h5py.File(path, "w") as file:
        group = file if config is None else file.create_group("model_weights")
        group.attrs["layer_names"] = list(listed)
        group.attrs["keras_version"], group.attrs["backend"] = "2.12.0", "tensorflow"
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        for holder, paths in listed.items():
            below = group.create_group(holder)
            below.attrs["weight_names"] = [f"{part}:0" for part in paths]
            for part in paths:
                below[f"{part}:0"] = ARRAYS[part].astype("f4")
        edit(group)
    return path


def check(path: Path, **options: Any) -> None:
    found = keras_arrays(read_keras_model(path, 1.0, **options).model)
    for name, array in ARRAYS.items():
        owner, part = name.split("/")
        np.testing.assert_array_equal(found[owner][part], array.astype("f4"))


@pytest.mark.parametrize(
    ("config", "listed"),
    [
        (NESTED, LISTED),
        (FLAT, BY_LAYER),
        ({**FLAT, "config": FLAT["config"]["layers"]}, BY_LAYER),  # as Keras up to 2.2.2 has it
    ],
    ids=["nested", "Sequential", "a bare list"],
)
def test_a_sequential_is_read_in_every_form(
    tmp_path: Path, config: Config, listed: dict[str, list[str]]
) -> None:
    check(write(tmp_path / "net.h5", config, listed))


def test_layers_of_one_name_in_two_models_get_their_model_s(tmp_path: Path) -> None:
    config = copy.deepcopy(NESTED)
    config["config"]["layers"][1]["config"]["layers"][1]["config"]["name"] = "conv_1"
    path = write(tmp_path / "net.h5", config)
    graph = read_keras_model(path, 1.0).model.graph
    assert graph.weighted == ("body_conv_1", "norm", "conv_2", "head_conv_1")


def frozen(config: Config) -> Config:
    changed = copy.deepcopy(config)
    changed["config"]["layers"][0]["config"]["layers"][0]["config"]["trainable"] = False
    return changed


FROZEN_LAST = [path for path in TRAINED_FIRST if path[:6] != "conv_1"]
FROZEN_LAST = [*FROZEN_LAST[:4], "conv_1/kernel", "conv_1/bias", *FROZEN_LAST[4:]]


def test_what_is_frozen_in_a_model_within_is_listed_behind_what_is_trained(tmp_path: Path) -> None:
    check(write(tmp_path / "net.h5", frozen(NESTED), LISTED | {"body": FROZEN_LAST}))


def renamed(group: h5py.Group) -> None:
    group.attrs["layer_names"] = ["head", "body"]


def swapped(paths: list[str], one: int, other: int) -> list[str]:
    changed = list(paths)
    changed[one], changed[other] = changed[other], changed[one]
    return changed


def twice(config: Config) -> Config:
    changed = copy.deepcopy(config)
    body = changed["config"]["layers"][0]["config"]["layers"]
    body[2]["config"]["name"] = "conv_1"
    return changed


def second_input(config: Config) -> Config:
    changed = copy.deepcopy(config)
    entry = layer("InputLayer", "again", batch_input_shape=[None, 5, 4, 4])
    changed["config"]["layers"][1]["config"]["layers"].insert(1, entry)
    return changed


def for_other_inputs(config: Config) -> Config:
    changed = copy.deepcopy(config)
    head = changed["config"]["layers"][1]["config"]["layers"][0]
    head["config"]["batch_input_shape"] = [None, 4, 5, 4]
    return changed


@pytest.mark.parametrize(
    ("config", "listed", "edit", "line"),
    [
        (NESTED, LISTED, renamed, "expected weights of body next, found those of head"),
        (FLAT, dict(reversed(BY_LAYER.items())), None, "weights of conv_1 next.*those of out"),
        (
            NESTED,
            LISTED | {"body": swapped(TRAINED_FIRST, 2, 3)},
            None,
            "norm's gamma next, found norm/beta:0. Keras loads weights by position",
        ),
        (
            NESTED,
            LISTED | {"body": swapped(TRAINED_FIRST, 1, 5)},
            None,
            "conv_1's bias next, found conv_2/bias:0. Keras loads weights by position",
        ),
        (frozen(NESTED), LISTED, None, "norm's gamma next, found conv_1/kernel:0"),
        (NESTED, LISTED | {"body": TRAINED_FIRST[:-1]}, None, r"missing norm \(moving_variance\)"),
        (NESTED, {"body": TRAINED_FIRST}, None, r"missing head \(all\)"),
        (twice(NESTED), LISTED, None, "a layer is named twice"),
        (second_input(NESTED), LISTED, None, "again: an input behind the first layer"),
        (
            for_other_inputs(NESTED),
            LISTED,
            None,
            r"an input of \(5, 4, 4\), which is what it reads",
        ),
    ],
)
def test_a_file_that_is_another_network_for_keras_is_refused(
    tmp_path: Path,
    config: Config,
    listed: dict[str, list[str]],
    edit: Callable[[h5py.Group], object] | None,
    line: str,
) -> None:
    path = write(tmp_path / "net.h5", config, listed, edit or (lambda group: None))
    with pytest.raises(InputError, match=line):
        read_keras_model(path, 1.0)


def test_an_architecture_comes_from_json_or_from_any_model_file(tmp_path: Path) -> None:
    alone = write(tmp_path / "weights.h5", None)
    whole = write(tmp_path / "net.h5")
    told = tmp_path / "model.json"
    told.write_text(json.dumps(NESTED), encoding="utf-8")
    converted = tmp_path / "net.safetensors"
    save_checkpoint(read_keras_model(whole, 1.0), converted)
    check(alone, architecture=told)
    check(alone, architecture=whole)
    check(write(tmp_path / "flat.h5", None, BY_LAYER), architecture=converted)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (json.dumps(FLAT), "4 layers with weights, found 2.*Give the architecture"),
        ("{}", "model.json: expected Keras's model configuration"),
        ("no JSON", "model.json: expected JSON"),
        (json.dumps(sequential("x", layer("Lambda", "y"))), "refused: Lambda"),
    ],
)
def test_an_architecture_that_does_not_fit_is_refused(tmp_path: Path, text: str, line: str) -> None:
    alone, told = write(tmp_path / "weights.h5", None), tmp_path / "model.json"
    told.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=line):
        read_keras_model(alone, 1.0, told)


def test_an_architecture_of_a_whole_model_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "net.h5")
    with pytest.raises(InputError, match=r"a weights-only file .*found a full model"):
        read_keras_model(whole, 1.0, whole)


def test_weights_alone_are_no_architecture(tmp_path: Path) -> None:
    alone = write(tmp_path / "weights.h5", None)
    with pytest.raises(InputError, match=r"expected what Keras's model.to_json.*weights alone"):
        read_keras_model(alone, 1.0, alone)


def nested_in_keras(keras: Any) -> Any:
    """A Sequential in a functional model in a Sequential; the middle one is partly frozen."""
    layers = keras.layers
    read = keras.Input((9, 8, 2))
    inner = keras.Sequential(
        [layers.Conv2D(4, 3, activation="relu", name="a"), layers.BatchNormalization(name="b")],
        name="inner",
    )
    maps = layers.Add(name="sum")([inner(read), layers.Conv2D(4, 3, name="c")(read)])
    middle = keras.Model(read, layers.DepthwiseConv2D(2, name="d")(maps), name="middle")
    middle.get_layer("c").trainable = False
    last = [layers.GlobalAveragePooling2D(name="e"), layers.Dense(3, name="f")]
    model = keras.Sequential([keras.Input((9, 8, 2)), middle, *last, layers.Softmax(name="g")])
    random = np.random.default_rng(1)
    model.set_weights([random.uniform(0.1, 1, array.shape) for array in model.get_weights()])
    return model


@pytest.mark.real_keras
@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@pytest.mark.parametrize("ending", ["h5", "keras", "weights.h5"])
def test_what_real_keras_writes_of_models_within_models_is_read(
    tmp_path: Path, library: str, ending: str
) -> None:
    model = nested_in_keras(real_keras(library))
    path, told = tmp_path / f"net.{ending}", tmp_path / "model.json"
    told.write_text(model.to_json(), encoding="utf-8")
    (model.save_weights if ending == "weights.h5" else model.save)(path)
    architecture = told if ending == "weights.h5" else None
    network = read_keras_model(path, 1 / 255, architecture).model
    images = np.random.default_rng(2).integers(0, 256, (8, *network.input_shape), dtype=np.uint8)
    with torch.inference_mode():
        ours = network(torch.from_numpy(images)).softmax(1).numpy()
    theirs = model.predict(images.transpose(0, 2, 3, 1) / np.float32(255), verbose=0)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.real_keras
@pytest.mark.usefixtures("keras_once")
def test_layers_of_models_within_models_are_compared_one_by_one(tmp_path: Path) -> None:
    model = nested_in_keras(real_keras("tf_keras"))
    path = tmp_path / "net.h5"
    model.save(path)
    network = read_keras_model(path, 1 / 255).model
    parity = compare_with_keras(network, path)
    assert {"a", "b", "c", "d"} < {layer.layer for layer in parity.layers}
    assert parity.held, parity.failures
