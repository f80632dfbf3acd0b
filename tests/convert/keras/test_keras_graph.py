from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.made.keras_files import (
    SMALL,
    WIDE,
    Config,
    edit_layer,
    random_weights,
    write_keras_file,
)
from ytf_torch.convert.keras.keras_config import read_config
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.convert.keras.keras_graph import keras_checkpoint, parameter_rows
from ytf_torch.convert.keras.keras_network import graph_of
from ytf_torch.convert.keras.keras_writer import functional_config
from ytf_torch.errors import InputError
from ytf_torch.network.deepid import DeepIDSizes, deepid, deepid_graph


def converted(path: Path, sizes: DeepIDSizes, pixel_scale: float = 1.0, **options):
    write_keras_file(path, sizes, random_weights(sizes), **options)
    return keras_checkpoint(read_keras_file(path), pixel_scale)


@pytest.mark.parametrize("sizes", [SMALL, WIDE, replace(SMALL, classes=2)])
def test_all_sizes_come_from_the_file(tmp_path: Path, sizes: DeepIDSizes) -> None:
    checkpoint = converted(tmp_path / "net.h5", sizes, pixel_scale=1 / 255)
    assert checkpoint.model.graph == deepid_graph(sizes)
    assert checkpoint.provenance.input_shape == sizes.input_shape
    assert checkpoint.provenance.classes == sizes.classes
    assert checkpoint.provenance.pixel_scale == checkpoint.model.pixel_scale == 1 / 255
    assert checkpoint.provenance.source_file == "net.h5"


@pytest.mark.parametrize(
    ("stored", "kept"),
    [("f2", torch.float32), ("f4", torch.float32), ("f8", torch.float64)],
)
def test_no_weight_is_rounded(tmp_path: Path, stored: str, kept: torch.dtype) -> None:
    weights = random_weights(SMALL, dtype=stored)
    path = write_keras_file(tmp_path / "net.h5", SMALL, weights)
    model = keras_checkpoint(read_keras_file(path), 1.0).model
    assert model.dtype == kept
    ours = model.state_dict()["output.weight"].T.numpy()
    np.testing.assert_array_equal(ours.astype("f8"), weights["output"][0].astype("f8"))


def test_a_weights_only_file_of_another_input_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fc_1\.weight: expected .* for faces of 55×47"):
        converted(tmp_path / "net.h5", replace(SMALL, input_size=(71, 47)), full_model=False)


def insert(layer: Config, before: str) -> Callable[[Config], None]:
    """Insert a layer between `before` and its input."""

    def edit(config: Config) -> None:
        layers = config["config"]["layers"]
        layer["name"] = layer["config"]["name"]
        target = next(entry for entry in layers if entry["name"] == before)
        layer["inbound_nodes"] = target["inbound_nodes"]
        target["inbound_nodes"] = [[[layer["config"]["name"], 0, 0, {}]]]
        layers.append(layer)

    return edit


def test_dropout_does_nothing_at_inference_and_is_accepted(tmp_path: Path) -> None:
    dropout = {"class_name": "Dropout", "config": {"name": "dropout_1", "rate": 0.5}}
    edit = insert(dropout, "output")
    assert converted(tmp_path / "net.h5", SMALL, edit=edit).model.graph == deepid_graph(SMALL)


def rewire(name: str, *sources: str) -> Callable[[Config], None]:
    def edit(config: Config) -> None:
        for layer in config["config"]["layers"]:
            if layer["name"] == name:
                layer["inbound_nodes"] = [[[source, 0, 0, {}] for source in sources]]

    return edit


def change(name: str, **settings) -> Callable[[Config], None]:
    return lambda config: edit_layer(config, name, **settings)


def recast(name: str, class_name: str) -> Callable[[Config], None]:
    def edit(config: Config) -> None:
        for layer in config["config"]["layers"]:
            if layer["name"] == name:
                layer["class_name"] = class_name

    return edit


def move_output(config: Config) -> None:
    config["config"]["output_layers"] = [["output", 0, 0], ["fc_1", 0, 0]]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change("conv_2", data_format="channels_first"), "conv_2, data_format: .*channels_last"),
        (change("conv_2", activation="mystery"), "conv_2, activation: expected one of .*relu"),
        (change("conv_2", turbo=3), "conv_2, turbo: expected a setting that ytf-torch knows"),
        (change("conv_3", padding="causal"), "conv_3, padding: expected valid or same"),
        (change("conv_1", strides=[2, 0]), "conv_1, strides: expected two whole numbers"),
        (change("conv_1", filters=-3), "conv_1, filters: expected a whole number from 1 on"),
        (change("conv_4", use_bias="no"), "conv_4, use_bias: expected true or false"),
        (change("input", batch_input_shape=[None, None, 47, 3]), "input: expected an input of"),
        (change("input", batch_input_shape=[None, 5, 4, 3]), "images of 5×4 are too small"),
        (change("output", units=9), r"output/kernel: expected shape \(9, 9\), found \(9, 7\)"),
        (change("conv_3", kernel_size=[5, 5]), "conv_3/kernel: expected shape"),
        (rewire("output", "fc_1"), "a layer that leads to no output: conv_4"),
        (rewire("flatten_1", "flatten_2"), "fc_1/kernel: expected shape"),
        (rewire("fc_2", "conv_4"), "a layer that leads to no output: flatten_2"),
        (change("fc_2", units=8), "add_1: Add reads two or more inputs of broadcastable sh"),
        (rewire("conv_2", "conv_2"), "conv_2 reads itself"),
        (rewire("conv_2", "nothing"), "a layer 'nothing' is used but not there"),
        (rewire("conv_4", "pool_1"), "conv_4/kernel: expected shape"),
        (recast("pool_2", "Pooling3000"), "pool_2: expected a layer of a class that is known"),
        (recast("add_1", "Lambda"), "refused: Lambda"),
        (move_output, "expected one output layer, found output, fc_1"),
    ],
)
def test_what_is_not_understood_is_refused_by_the_layers_name(
    tmp_path: Path, edit: Callable[[Config], None], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        converted(tmp_path / "net.h5", SMALL, edit=edit)


@pytest.mark.parametrize(
    ("edit", "layer", "setting", "value"),
    [
        (change("conv_2", activation="tanh"), "conv_2", "activation", "tanh"),
        (change("fc_1", activation="relu"), "fc_1", "activation", "relu"),
        (change("output", activation="linear"), "output", "activation", "linear"),
        (change("activation_1", activation="elu"), "activation_1", "activation", "elu"),
        (
            change("pool_3", pool_size=[3, 3], strides=[2, 2], padding="same"),
            "pool_3",
            "pool_size",
            [3, 3],
        ),
        (change("conv_4", padding="same", dilation_rate=[1, 1]), "conv_4", "padding", "same"),
    ],
)
def test_another_network_than_the_labs_is_read_as_it_is(
    edit: Callable[[Config], None], layer: str, setting: str, value: object
) -> None:
    config = functional_config(deepid(SMALL))
    model = {"class_name": "Functional", "config": config}
    edit(model)
    graph = graph_of(read_config(json.dumps(model), "net.h5"), "net.h5")
    assert graph != deepid_graph(SMALL)
    assert graph[layer].kind.keras_settings()[setting] == value


@pytest.mark.parametrize("setting", ["activation", "padding", "strides", "use_bias"])
def test_a_setting_that_is_left_out_has_kerass_default(setting: str) -> None:
    config = functional_config(deepid(SMALL))
    for layer in config["layers"]:
        layer["config"].pop(setting, None)
    model = {"class_name": "Functional", "config": config}
    graph = graph_of(read_config(json.dumps(model), "net.h5"), "net.h5")
    settings = graph["conv_2"].kind.keras_settings()
    defaults = {"activation": "linear", "padding": "valid", "strides": [1, 1], "use_bias": True}
    assert settings[setting] == defaults[setting]
    assert graph["pool_2"].kind.keras_settings()["strides"] == [2, 2]


def test_missing_and_left_over_weights_are_reported_together(tmp_path: Path) -> None:
    weights = random_weights(SMALL)
    weights["pool_1"] = weights.pop("conv_4")
    path = write_keras_file(tmp_path / "net.h5", SMALL, weights)
    missing = r"missing conv_4 \(kernel, bias\); unexpected pool_1 \(kernel, bias\)"
    with pytest.raises(InputError, match=missing):
        keras_checkpoint(read_keras_file(path), 1.0)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_the_pixel_scale_must_be_a_scale(keras_file: Path, scale: float) -> None:
    with pytest.raises(InputError, match="1 or 1/255"):
        keras_checkpoint(read_keras_file(keras_file), scale)


def test_the_table_has_every_weight_in_both_layouts(keras_file: Path) -> None:
    file = read_keras_file(keras_file)
    rows = {row[0]: row[1:] for row in parameter_rows(file, keras_checkpoint(file, 1.0))}
    assert len(rows) == 14
    assert rows["conv_2.weight"] == ("3×3×3×4", "4×3×3×3", 108)
    assert rows["fc_1.weight"] == ("120×9", "9×120", 1080)
