"""Ambiguous files are read as Keras reads them, or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from tests.made.keras_files import (
    SMALL,
    Config,
    edit_layer,
    model_config,
    random_weights,
    write_keras_archive,
    write_keras_file,
    write_keras_variables,
)
from ytf_torch.convert import read_keras_model
from ytf_torch.errors import InputError
from ytf_torch.network.deepid import deepid_graph

WEIGHTS = random_weights(SMALL)


def list_at_root(file: h5py.File) -> None:
    for name, arrays in random_weights(SMALL, 9).items():
        holder = file.create_group(name)
        holder.attrs["weight_names"] = [f"{name}/kernel:0", f"{name}/bias:0"]
        for part, array in zip(("kernel", "bias"), arrays, strict=True):
            holder[f"{name}/{part}:0"] = array
    file.attrs["layer_names"] = list(WEIGHTS)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (list_at_root, "expected one set of weights, found several: model_weights, layer_names"),
        (lambda file: file.create_group("layers/dense/vars"), "several: layers, model_weights"),
        (lambda file: file.move("model_weights", "weights"), "without `model_weights`"),
        (
            lambda file: (
                file["model_weights"]
                .create_group("top_level_model_weights")
                .attrs.create("weight_names", ["a:0"])
            ),
            "top_level_model_weights: expected no weights, found a:0",
        ),
    ],
)
def test_a_model_with_two_sets_of_weights_is_refused(
    tmp_path: Path, edit: Callable[[h5py.File], Any], line: str
) -> None:
    path = write_keras_file(tmp_path / "net.h5", SMALL, WEIGHTS)
    with h5py.File(path, "r+") as file:
        edit(file)
    with pytest.raises(InputError, match=line):
        read_keras_model(path, 1.0)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (list_at_root, "several: layers, layer_names at the root"),
        (lambda file: file.copy("layers", "_layer_checkpoint_dependencies"), "found several|both"),
        (lambda file: file["vars"].create_dataset("0", data=[1.0]), "no weights of the model"),
        (
            lambda file: file["layers/dense/vars/0"].attrs.create("dtype", "bfloat16"),
            "found bfloat16, to which Keras rounds",
        ),
    ],
)
def test_weights_of_two_networks_are_refused(
    tmp_path: Path, edit: Callable[[h5py.File], Any], line: str
) -> None:
    path = tmp_path / "net.weights.h5"
    write_keras_variables(path, WEIGHTS, model_config(SMALL)["config"]["layers"])
    with h5py.File(path, "r+") as file:
        edit(file)
    with pytest.raises(InputError, match=line):
        read_keras_model(path, 1.0)


def test_weights_listed_in_another_order_than_the_layers_are_refused(tmp_path: Path) -> None:
    """Keras loads weights by position, and would load those of conv_3 into conv_2."""
    path = write_keras_file(tmp_path / "net.h5", SMALL, WEIGHTS)
    with h5py.File(path, "r+") as file:
        names = list(file["model_weights"].attrs["layer_names"])
        first, second = names.index("conv_2"), names.index("conv_3")
        names[first], names[second] = names[second], names[first]
        file["model_weights"].attrs["layer_names"] = names
    with pytest.raises(InputError, match="expected weights of conv_2 next, found those of conv_3"):
        read_keras_model(path, 1.0)


def swap(path: Path, one: str, other: str) -> None:
    with h5py.File(path, "r+") as file:
        names = list(file.attrs["layer_names"])
        first, second = names.index(one), names.index(other)
        names[first], names[second] = other, one
        file.attrs["layer_names"] = names


def test_weights_alone_in_an_order_in_which_keras_loads_another_network_are_refused(
    tmp_path: Path,
) -> None:
    alike = replace(SMALL, channels=(3, 4, 6, 10))  # fc_1 and fc_2 have kernels of one shape
    path = tmp_path / "net.h5"
    write_keras_file(path, alike, random_weights(alike), full_model=False)
    assert read_keras_model(path, 1.0).model.graph == deepid_graph(alike)
    swap(path, "fc_1", "fc_2")
    line = "expected weights of fc_1 next, found those of fc_2. Keras loads weights by position"
    with pytest.raises(InputError, match=line):
        read_keras_model(path, 1.0)


def test_weights_alone_in_an_order_that_keras_loads_by_name_only_are_read_by_name(
    tmp_path: Path,
) -> None:
    """By position their shapes fit no layer, so Keras cannot load them into the wrong layers."""
    path = write_keras_file(tmp_path / "net.h5", SMALL, WEIGHTS, full_model=False)
    expected = read_keras_model(path, 1.0).model.state_dict()
    swap(path, "fc_1", "fc_2")
    found = read_keras_model(path, 1.0).model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def drop(layer: str, key: str) -> Callable[[Config], None]:
    def edit(config: Config) -> None:
        for found in config["config"]["layers"]:
            if found["name"] == layer:
                del found["config"][key]

    return edit


@pytest.mark.parametrize("write", [write_keras_file, write_keras_archive])
@pytest.mark.parametrize(
    ("layer", "key"),
    [
        ("conv_1", "filters"),
        ("conv_4", "kernel_size"),
        ("fc_1", "units"),
    ],
)
def test_a_setting_without_a_default_is_refused_where_it_is_left_out(
    tmp_path: Path, write: Callable[..., Path], layer: str, key: str
) -> None:
    name = "net.h5" if write is write_keras_file else "net.keras"
    with pytest.raises(InputError, match=rf"{layer}, {key}: expected .*, found"):
        read_keras_model(write(tmp_path / name, SMALL, WEIGHTS, edit=drop(layer, key)), 1.0)


@pytest.mark.parametrize(
    ("layer", "key"),
    [
        *(("conv_2", key) for key in ("padding", "strides", "use_bias", "dilation_rate")),
        *(("pool_1", key) for key in ("padding", "strides", "pool_size", "data_format")),
        *(("fc_1", key) for key in ("activation", "use_bias")),
        ("flatten_1", "data_format"),
    ],
)
def test_a_setting_that_is_keras_s_default_may_be_left_out(
    tmp_path: Path, layer: str, key: str
) -> None:
    path = write_keras_file(tmp_path / "net.h5", SMALL, WEIGHTS, edit=drop(layer, key))
    kernel = read_keras_model(path, 1.0).model.convolution("conv_2").weight
    expected = WEIGHTS["conv_2"][0].transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(kernel.detach().numpy(), expected)


def change_entry(name: str, **changes: Any) -> Callable[[Config], None]:
    def edit(config: Config) -> None:
        for layer in config["config"]["layers"]:
            if layer["name"] == name:
                layer.update(changes)

    return edit


def both_numbered(config: Config) -> None:
    for name in ("conv_2", "conv_3"):
        change_entry(name, shared_object_id=4)(config)


def fed_at_conv_1(config: Config) -> None:
    config["config"]["input_layers"] = [["conv_1", 0, 0]]


def activated_by(value: object) -> Callable[[Config], None]:
    return lambda config: edit_layer(config, "conv_2", activation=value)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (both_numbered, "expected a unique shared_object_id for each layer, found 2 objects"),
        (fed_at_conv_1, "input_layers that are the model's InputLayer, input, found conv_1"),
        (change_entry("conv_2", config={"name": "conv_3"}), "expected one name for a layer"),
        (
            change_entry("conv_2", inbound_nodes=[[["pool_1", 0, 0, {"training": True}]]]),
            "expected a layer that is called with its inputs alone, found training=True",
        ),
        (
            activated_by({"class_name": "tanh", "config": "relu"}),
            "conv_2, activation: expected one of .*relu",
        ),
        (activated_by({"class_name": "relu", "config": {"a": 1}}), "conv_2, activation"),
        (
            lambda config: edit_layer(config, "conv_2", lora_rank=4),
            "lora_rank: expected a setting that ytf-torch knows, found 4",
        ),
    ],
)
def test_a_configuration_that_keras_takes_otherwise_is_refused(
    tmp_path: Path, edit: Callable[[Config], None], line: str
) -> None:
    with pytest.raises(InputError, match=line):
        read_keras_model(write_keras_file(tmp_path / "net.h5", SMALL, WEIGHTS, edit=edit), 1.0)


def test_wide_weights_without_a_policy_are_not_taken_for_float64(tmp_path: Path) -> None:
    weights = random_weights(SMALL, dtype=np.float64)

    def untold(config: Config) -> None:
        for layer in config["config"]["layers"]:
            del layer["config"]["dtype"]

    path = write_keras_file(tmp_path / "net.h5", SMALL, weights, edit=untold)
    with pytest.raises(InputError, match=r"expected float32, .* found float64"):
        read_keras_model(path, 1.0)
