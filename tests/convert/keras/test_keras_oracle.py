"""Every kind of file is read as the installed Keras libraries read it."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.convert.keras.test_keras_versions import GOLDEN
from tests.made.keras_files import SMALL, edit_layer, random_weights, write_keras_file
from tests.made.real_keras import real_keras
from ytf_torch.convert import read_keras_model
from ytf_torch.convert.keras.keras_oracle import compare_with_keras
from ytf_torch.convert.keras.keras_writer import write_keras_archive
from ytf_torch.errors import InputError
from ytf_torch.network.deepid import deepid

pytestmark = [pytest.mark.real_keras, pytest.mark.slow]


@pytest.mark.usefixtures("keras_once")
@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("2.14.0.h5", "2."),
        ("2.14.0.weights.h5", "3."),
        ("3.15.1-crossed.weights.h5", "3."),
        ("3.15.1-wrapped.keras", "3."),
    ],
)
def test_what_keras_wrote_answers_as_keras_does(name: str, version: str) -> None:
    path = GOLDEN / "keras" / name
    parity = compare_with_keras(read_keras_model(path, 1.0).model, path)
    assert parity.failures == ()
    assert parity.keras_version.startswith(version)


def test_a_changed_weight_is_found_whatever_the_file_is_called(tmp_path: Path) -> None:
    """By Keras 3 in a process that imports it for this file, as for users'."""
    model = deepid(SMALL).eval()
    write_keras_archive(tmp_path / "oddly.named", model)
    model.convolution("conv_3").bias.data += 1
    assert compare_with_keras(model, tmp_path / "oddly.named").first_divergence == "conv_3"


def test_a_network_in_mixed_precision_is_refused_and_not_compared_as_float32(
    tmp_path: Path,
) -> None:
    weights = random_weights(SMALL)
    plain = write_keras_file(tmp_path / "plain.h5", SMALL, weights)
    mixed = write_keras_file(
        tmp_path / "mixed.h5",
        SMALL,
        weights,
        edit=lambda config: edit_layer(config, "conv_1", dtype="mixed_float16"),
    )
    model = read_keras_model(plain, 1.0).model
    with pytest.raises(InputError, match="mixed_float16"):
        compare_with_keras(model, mixed)


def test_a_pruning_wrapper_which_keras_does_not_load_is_said_to_be_none_of_its_layers() -> None:
    path = GOLDEN / "keras" / "pruned.h5"
    with pytest.raises(InputError, match=r"PruneLowMagnitude wrapper.*strip_pruning"):
        compare_with_keras(read_keras_model(path, 1.0).model, path)


@pytest.mark.usefixtures("keras_once")
def test_float64_is_compared_in_float64(tmp_path: Path) -> None:
    path = write_keras_file(tmp_path / "net.h5", SMALL, random_weights(SMALL, dtype=np.float64))
    with h5py.File(path) as file:
        assert file["model_weights/fc_1/fc_1/kernel:0"].dtype == "f8"
    parity = compare_with_keras(read_keras_model(path, 1.0).model, path)
    assert parity.held
    assert parity.logits.largest_difference < 1e-10


def test_a_configuration_that_names_more_than_stock_objects_never_reaches_keras(
    tmp_path: Path,
) -> None:
    download = {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "x"}}
    path = write_keras_file(
        tmp_path / "net.h5",
        SMALL,
        random_weights(SMALL),
        edit=lambda config: edit_layer(config, "conv_1", kernel_initializer=download),
    )
    with pytest.raises(InputError, match=r"is not given a configuration that has get_file of ker"):
        compare_with_keras(read_keras_model(path, 1.0).model, path)


@pytest.mark.usefixtures("keras_once")
@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_layers_that_do_nothing_at_inference_are_passed_over(
    tmp_path: Path, library: str, ending: str
) -> None:
    keras = real_keras(library)
    layers = keras.layers
    passed = [
        *(layers.GaussianNoise(0.1), layers.GaussianDropout(0.2), layers.SpatialDropout2D(0.2)),
        *(layers.AlphaDropout(0.2), layers.ActivityRegularization(l2=1e-4)),
        *(layers.Activation("linear"), layers.RandomFlip(), layers.RandomRotation(0.1)),
        *(layers.RandomZoom(0.1), layers.RandomTranslation(0.1, 0.1), layers.RandomContrast(0.2)),
    ]
    pixels = entry = keras.Input((55, 47, 3), name="input")
    for layer in passed:
        pixels = layer(pixels)
    for number, channels, kernel in ((1, 3, 4), (2, 4, 3), (3, 6, 3)):
        name = f"conv_{number}"
        pixels = layers.Conv2D(channels, kernel, activation="relu", name=name)(pixels)
        pixels = layers.MaxPooling2D(2, name=f"pool_{number}")(pixels)
    above = layers.Conv2D(5, 2, activation="relu", name="conv_4")(pixels)
    sides = [
        layers.Dense(9, name=name)(layers.Flatten()(side))
        for name, side in (("fc_1", pixels), ("fc_2", above))
    ]
    joined = layers.Dropout(0.3)(layers.Activation("relu")(layers.Add()(sides)))
    answer = layers.Dense(7, activation="softmax", name="output")(joined)
    path = tmp_path / f"net{ending}"
    keras.Model(entry, answer).save(path)
    assert compare_with_keras(read_keras_model(path, 1.0).model, path).failures == ()
