from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.made.keras_files import (
    SMALL,
    Weights,
    model_config,
    random_weights,
    write_keras_variables,
)
from ytf_torch.convert import read_keras_model
from ytf_torch.convert.keras.keras_variables import snake_case, variable_paths
from ytf_torch.convert.keras.keras_writer import keras_arrays
from ytf_torch.errors import InputError
from ytf_torch.network.deepid import DeepIDSizes


@pytest.mark.parametrize(
    ("class_name", "path"),
    [
        ("Conv2D", "conv2d"),
        ("MaxPooling2D", "max_pooling2d"),
        ("InputLayer", "input_layer"),
        ("Dense", "dense"),
        ("BatchNormalization", "batch_normalization"),
        ("ReLU", "re_lu"),
    ],
)
def test_classes_are_spelt_as_keras_spells_them(class_name: str, path: str) -> None:
    assert snake_case(class_name) == path


def test_layers_are_counted_by_class() -> None:
    layers = [("a", "Conv2D"), ("b", "Dense"), ("c", "Conv2D"), ("d", "Conv2D")]
    assert variable_paths(layers) == {"a": "conv2d", "b": "dense", "c": "conv2d_1", "d": "conv2d_2"}


def written(path: Path, sizes: DeepIDSizes, weights: Weights, **options: Any) -> Path:
    write_keras_variables(path, weights, model_config(sizes)["config"]["layers"], **options)
    return path


def crossed(path: Path) -> None:
    """Swap the first two Dense layers: Keras numbers them so where Add reads fc_2 first."""
    with h5py.File(path, "r+") as file:
        file["layers"].move("dense", "kept")
        file["layers"].move("dense_1", "dense")
        file["layers"].move("kept", "dense_1")


def check(path: Path, weights: Weights) -> None:
    found = keras_arrays(read_keras_model(path, 1.0).model)
    for layer, (kernel, bias) in weights.items():
        np.testing.assert_array_equal(found[layer]["kernel"], kernel)
        np.testing.assert_array_equal(found[layer]["bias"], bias)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("change", [lambda path: None, crossed])
def test_weights_alone_find_their_layers(tmp_path: Path, named: bool, change: Any) -> None:
    weights = random_weights(SMALL)
    path = written(tmp_path / "net.weights.h5", SMALL, weights, named=named)
    change(path)
    check(path, weights)


# Kernels so that fc_1 and fc_2 read as many values: 6 × 5 × 4 = 10 × 4 × 3.
ALIKE = replace(SMALL, channels=(3, 4, 6, 10))


@pytest.mark.parametrize("change", [lambda path: None, crossed])
def test_dense_layers_of_one_shape_are_told_apart_by_their_names(
    tmp_path: Path, change: Any
) -> None:
    weights = random_weights(ALIKE)
    path = written(tmp_path / "net.weights.h5", ALIKE, weights)
    change(path)
    check(path, weights)


def test_dense_layers_of_one_shape_and_no_names_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "net.weights.h5", ALIKE, random_weights(ALIKE), named=False)
    with pytest.raises(InputError, match=r"fc_1 and fc_2 .* cannot be distinguished.*\.keras"):
        read_keras_model(path, 1.0)


@pytest.mark.parametrize("doubled", [True, False])
def test_the_stores_of_keras_2_13_and_2_14_are_read(tmp_path: Path, doubled: bool) -> None:
    weights = random_weights(SMALL)
    path = written(tmp_path / "net.weights.h5", SMALL, weights, named=False)
    with h5py.File(path, "r+") as file:
        file.move("layers", "_layer_checkpoint_dependencies")
        store = file["_layer_checkpoint_dependencies"]
        for kind, count in (("conv2d", 4), ("dense", 3)):
            for number in reversed(range(1, count if doubled else 0)):
                store.move(f"{kind}_{number}", f"{kind}_{2 * number}")
    check(path, weights)


@pytest.mark.parametrize("removed", ["conv2d_3", "dense_2"])
def test_weights_of_another_network_are_refused(tmp_path: Path, removed: str) -> None:
    path = written(tmp_path / "net.weights.h5", SMALL, random_weights(SMALL))
    with h5py.File(path, "r+") as file:
        del file["layers"][removed]
    with pytest.raises(InputError, match="expected DeepID's weights, 4 conv2d and 3 dense, found"):
        read_keras_model(path, 1.0)


def test_a_pruning_wrapper_among_weights_alone_is_refused_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "net.weights.h5", SMALL, random_weights(SMALL))
    with h5py.File(path, "r+") as file:
        file["layers/prune_low_magnitude/vars/0"] = np.ones(3)
    with pytest.raises(InputError, match=r"PruneLowMagnitude wrapper.*strip_pruning"):
        read_keras_model(path, 1.0)
