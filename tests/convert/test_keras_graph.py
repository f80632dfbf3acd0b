from __future__ import annotations

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
from ytf_torch.convert.keras_file import read_keras_file
from ytf_torch.convert.keras_graph import keras_checkpoint, parameter_rows
from ytf_torch.errors import InputError
from ytf_torch.network.deepid import DeepIDSizes


def converted(path: Path, sizes: DeepIDSizes, pixel_scale: float = 1.0, **options):
    write_keras_file(path, sizes, random_weights(sizes), **options)
    return keras_checkpoint(read_keras_file(path), pixel_scale)


@pytest.mark.parametrize("sizes", [SMALL, WIDE, replace(SMALL, classes=1)])
def test_all_sizes_come_from_the_file(tmp_path: Path, sizes: DeepIDSizes) -> None:
    checkpoint = converted(tmp_path / "net.h5", sizes, pixel_scale=1 / 255)
    assert checkpoint.model.sizes == sizes
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
    """Put a layer between `before` and what it reads."""

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
    assert converted(tmp_path / "net.h5", SMALL, edit=edit).model.sizes == SMALL


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


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change("conv_2", activation="tanh"), "conv_2, activation: expected relu, found tanh"),
        (change("conv_3", padding="same"), "conv_3, padding: expected valid, found same"),
        (change("conv_1", strides=[2, 2]), r"conv_1, strides: expected \[1, 1\]"),
        (change("conv_1", dilation_rate=[2, 2]), "conv_1, dilation_rate"),
        (change("conv_4", use_bias=False), "conv_4, use_bias"),
        (change("conv_2", data_format="channels_first"), "conv_2, data_format"),
        (change("pool_1", pool_size=[3, 3]), "pool_1, pool_size"),
        (change("pool_3", strides=[1, 1]), "pool_3, strides"),
        (change("fc_1", activation="relu"), "fc_1, activation: expected linear"),
        (change("output", activation="sigmoid"), "output, activation: expected softmax"),
        (change("activation_1", activation="elu"), "activation_1, activation: expected relu"),
        (change("output", units=9), "output, units: expected 7, by its weights, found 9"),
        (change("conv_3", kernel_size=[5, 5]), "conv_3, kernel_size"),
        (change("input", batch_input_shape=[None, 55, 47, 1]), "input of"),
        (rewire("fc_2", "flatten_1"), "Conv2D conv_4.*found MaxPooling2D pool_3"),
        (rewire("add_1", "fc_1", "fc_1"), "Dense fc_2"),
        (rewire("output", "add_1"), "Activation, as DeepID has there, found Add"),
        (rewire("conv_4", "pool_2"), "conv_4|pool_3"),
        (recast("pool_2", "AveragePooling2D"), "found AveragePooling2D pool_2"),
        (recast("add_1", "Lambda"), "refused: Lambda"),
        (recast("add_1", "Concatenate"), "found Concatenate add_1"),
        (
            insert({"class_name": "BatchNormalization", "config": {"name": "bn"}}, "conv_3"),
            "MaxPooling2D pool_2.*found BatchNormalization bn",
        ),
    ],
)
def test_anything_but_deepid_is_refused_by_its_first_difference(
    tmp_path: Path, edit: Callable[[Config], None], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        converted(tmp_path / "net.h5", SMALL, edit=edit)


def test_missing_and_left_over_weights_are_reported_together(tmp_path: Path) -> None:
    weights = random_weights(SMALL)
    weights["pool_1"] = weights.pop("conv_4")
    path = write_keras_file(tmp_path / "net.h5", SMALL, weights, full_model=False)
    with pytest.raises(InputError, match=r"missing conv_4 \(kernel\).*left over pool_1"):
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
