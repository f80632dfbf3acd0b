from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.made.keras_files import (
    SMALL,
    Config,
    edit_layer,
    model_config,
    random_weights,
    write_keras_archive,
    write_keras_file,
)
from ytf_torch.convert import read_keras_model
from ytf_torch.convert.keras.keras_config import KerasLayer, KerasModel, read_config
from ytf_torch.convert.keras.keras_network import graph_of
from ytf_torch.convert.keras.nested_models import flattened
from ytf_torch.errors import InputError
from ytf_torch.network.deepid import deepid_graph

WRITERS: dict[str, Any] = {"net.h5": write_keras_file, "net.keras": write_keras_archive}


def layer(name: str, *inbound: str) -> KerasLayer:
    return KerasLayer(name, "Dense", {}, inbound)


@pytest.mark.parametrize(
    ("inbound", "first"), [(("fc_1", "fc_2"), "fc_1"), (("fc_2", "fc_1"), "fc_2")]
)
def test_layers_equally_far_from_the_output_are_counted_as_the_output_reads_them(
    inbound: tuple[str, ...], first: str
) -> None:
    layers = [layer("in"), layer("fc_1", "in"), layer("fc_2", "in"), layer("add", *inbound)]
    random.Random(0).shuffle(layers)
    order = [found.name for found in KerasModel(tuple(layers), ("add",)).in_keras_order()]
    assert order == ["in", first, *({"fc_1", "fc_2"} - {first}), "add"]


def test_a_layer_farther_from_the_output_is_counted_earlier_however_it_is_read() -> None:
    """conv_4 is on the longer path to `add`, so Keras numbers it before the layers of the other."""
    layers = (
        *(layer("add", "fc_1", "fc_2"), layer("fc_1", "in"), layer("fc_2", "conv_4")),
        *(layer("conv_4", "in"), layer("in"), layer("unused", "in")),
    )
    order = [found.name for found in KerasModel(layers, ("add",)).in_keras_order()]
    assert order == ["in", "conv_4", "fc_1", "fc_2", "add"]


@pytest.mark.parametrize("name", WRITERS)
def test_the_order_of_layers_in_the_file_does_not_matter(tmp_path: Path, name: str) -> None:
    def shuffle(config: Config) -> None:
        random.Random(1).shuffle(config["config"]["layers"])

    WRITERS[name](tmp_path / name, SMALL, random_weights(SMALL), edit=shuffle)
    found = read_keras_model(tmp_path / name, 1.0).model
    kernel = random_weights(SMALL)["conv_2"][0].transpose(3, 2, 0, 1)
    assert found.convolution("conv_2").weight.detach().numpy().tobytes() == kernel.tobytes()


POLICIES = {
    "text": lambda name: name,
    "tf.keras": lambda name: {
        "module": "keras.mixed_precision",
        "class_name": "Policy",
        "config": {"name": name},
        "registered_name": None,
    },
    "Keras 3": lambda name: {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": name},
        "registered_name": None,
        "shared_object_id": 140,
    },
}


def under(policy: Any, *layers: str) -> Any:
    def edit(config: Config) -> None:
        for name in layers:
            edit_layer(config, name, dtype=policy)

    return edit


EVERY = tuple(entry["name"] for entry in model_config(SMALL)["config"]["layers"][1:])


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("form", POLICIES)
@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"])
def test_a_policy_that_computes_in_less_than_float32_is_named_and_refused(
    tmp_path: Path, writer: str, form: str, name: str
) -> None:
    edit = under(POLICIES[form](name), "conv_3")
    path = WRITERS[writer](tmp_path / writer, SMALL, random_weights(SMALL), edit=edit)
    with pytest.raises(InputError, match=rf"conv_3: expected the dtype policy.* {name}.*float32"):
        read_keras_model(path, 1.0)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("form", POLICIES)
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_the_precision_of_the_policy_is_that_of_the_model(
    tmp_path: Path, writer: str, form: str, name: str
) -> None:
    edit = under(POLICIES[form](name), *EVERY)
    path = WRITERS[writer](tmp_path / writer, SMALL, random_weights(SMALL), edit=edit)
    assert str(read_keras_model(path, 1.0).model.dtype) == f"torch.{name}"


def test_two_precisions_in_one_network_are_refused(tmp_path: Path) -> None:
    def edit(config: Config) -> None:
        under("float32", *EVERY)(config)
        under("float64", "conv_3")(config)

    path = write_keras_file(tmp_path / "net.h5", SMALL, random_weights(SMALL), edit=edit)
    with pytest.raises(InputError, match=r"conv_3: expected one dtype policy.*float32 and float64"):
        read_keras_model(path, 1.0)


def test_weights_wider_than_their_policy_are_refused(tmp_path: Path) -> None:
    weights = random_weights(SMALL, dtype="float64")
    path = write_keras_file(tmp_path / "net.h5", SMALL, weights, edit=under("float32", *EVERY))
    with pytest.raises(InputError, match="expected float32, as its dtype policy says, found fl"):
        read_keras_model(path, 1.0)


def test_how_the_model_was_trained_is_not_asked() -> None:
    model = model_config(SMALL) | {
        "compile_config": {"loss": {"module": "builtins", "class_name": "function"}}
    }
    assert read_config(json.dumps(model), "here").outputs == ("output",)


def test_operations_of_keras_3_have_a_name_beside_their_configuration(tmp_path: Path) -> None:
    def edit(config: Config) -> None:
        layers = config["config"]["layers"]
        under("float64", *EVERY)(config)
        cast = {"class_name": "Cast", "name": "cast_1", "config": {"dtype": "float64"}}
        layers.insert(1, cast | {"inbound_nodes": [[["input", 0, 0, {}]]]})
        layers[2]["inbound_nodes"] = [[["cast_1", 0, 0, {}]]]

    path = write_keras_file(tmp_path / "net.h5", SMALL, random_weights(SMALL), edit=edit)
    assert str(read_keras_model(path, 1.0).model.dtype) == "torch.float64"


def nested(*names: str) -> Any:
    """A model whose layers are that many nested DeepIDs."""

    def edit(config: Config) -> None:
        inner = config["config"]
        models = [
            {
                "class_name": "Functional",
                "name": name,
                "config": inner | {"name": name},
                "inbound_nodes": [[["input_1", 0, 0, {}]]],
            }
            for name in names
        ]
        settings = {"name": "input_1", "batch_input_shape": [None, 55, 47, 3]}
        config["config"] = {
            "name": "outer",
            "layers": [
                {
                    "class_name": "InputLayer",
                    "name": "input_1",
                    "config": settings,
                    "inbound_nodes": [],
                },
                *models,
            ],
            "input_layers": [["input_1", 0, 0]],
            "output_layers": [[name, 1, 0] for name in names],
        }

    return edit


def test_two_networks_of_which_each_answers_are_refused() -> None:
    config = model_config(SMALL)
    nested("B", "B_prime")(config)
    model = read_config(json.dumps(config), "here")
    with pytest.raises(InputError, match=r"expected one output layer, found .*output.*output"):
        graph_of(model, "here")


def test_a_network_in_a_new_input_is_the_network() -> None:
    config = model_config(SMALL)
    nested("B")(config)
    model = flattened(read_config(json.dumps(config), "here"), "here")
    assert model.outputs == ("output",)
    paths = {layer.name: layer.path for layer in model.layers}
    assert paths["conv_1"] == ("B", "conv_1")
    assert graph_of(read_config(json.dumps(config), "here"), "here") == deepid_graph(SMALL)


@pytest.mark.parametrize("depth", [250, 900, 975, 100_000])
def test_a_configuration_nested_too_deeply_is_refused_with_the_name_of_its_file(
    depth: int,
) -> None:
    config = model_config(SMALL)
    edit_layer(config, "conv_1", strides="@@")
    text = json.dumps(config).replace('"@@"', "[" * depth + "]" * depth)
    with pytest.raises(InputError, match=r"^net.h5: expected JSON"):
        read_config(text, "net.h5")
