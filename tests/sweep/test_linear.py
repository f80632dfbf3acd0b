"""LinearEngine: maps that enter a single linear layer, and the networks it has to reject."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from tests.made.random_networks import network_of, pictures
from tests.sweep.test_engines import assert_equal_predictions
from ytf_torch.network.module import Network
from ytf_torch.sweep.fast import fast_engine
from ytf_torch.sweep.linear import LinearEngine, linear_end
from ytf_torch.sweep.suffix import SuffixEngine

Layer = tuple[str, dict[str, Any]]
DENSE: Layer = ("Dense", {"units": 7, "activation": "relu"})
OUTPUT: Layer = ("Dense", {"units": 5, "activation": "softmax"})
MAPS: list[Layer] = [
    ("InputLayer", {"batch_shape": [None, 12, 11, 3]}),
    ("Conv2D", {"filters": 4, "kernel_size": 3, "activation": "relu"}),
    ("Conv2D", {"filters": 6, "kernel_size": 3}),
    ("BatchNormalization", {}),
    ("Activation", {"activation": "relu"}),
    ("MaxPooling2D", {"pool_size": 2}),
]


def chain(*end: Layer, maps: list[Layer] = MAPS, seed: int = 0) -> Network:
    """A sequential network; its last convolution is layer_2."""
    records: list[dict[str, Any]] = []
    for number, (class_name, config) in enumerate([*maps, *end]):
        inputs = [f"layer_{number - 1}"] if number else []
        record = {"name": f"layer_{number}", "class_name": class_name, "config": config}
        records.append(record | {"inputs": inputs})
    return network_of(records, seed)


def dense(units: int, activation: str = "linear", **more: Any) -> Layer:
    return ("Dense", {"units": units, "activation": activation, **more})


FLATTEN: Layer = ("Flatten", {})
MEAN: Layer = ("GlobalAveragePooling2D", {})
NORMALIZED: Layer = ("BatchNormalization", {})
LINEAR_ENDS = {
    "relu": ([FLATTEN, DENSE, OUTPUT], "layer_7"),
    "tanh": ([FLATTEN, dense(7, "tanh"), OUTPUT], "layer_7"),
    "sigmoid": ([FLATTEN, dense(7, "sigmoid"), OUTPUT], "layer_7"),
    "gelu": ([FLATTEN, dense(7, "gelu"), OUTPUT], "layer_7"),
    "selu": ([FLATTEN, dense(7, "selu"), OUTPUT], "layer_7"),
    "linear": ([FLATTEN, dense(7), dense(6), dense(9, "relu"), OUTPUT], "layer_8"),
    "no hidden units": ([FLATTEN, OUTPUT], "layer_7"),
    "no bias": ([FLATTEN, dense(7, "relu", use_bias=False), OUTPUT], "layer_7"),
    "a later activation": (
        [FLATTEN, dense(7), NORMALIZED, ("LeakyReLU", {"alpha": 0.3}), OUTPUT],
        "layer_9",
    ),
    "a mean": ([MEAN, DENSE, OUTPUT], "layer_6"),
    "a mean that is the end": ([MEAN, ("Activation", {"activation": "softmax"})], "layer_7"),
    "few units": ([MEAN, dense(50, "relu"), OUTPUT], "layer_6"),
    "one unit": ([FLATTEN, DENSE, dense(1, "sigmoid")], "layer_7"),
    "one unit alone": ([FLATTEN, dense(1, "sigmoid")], "layer_7"),
    "many classes": ([FLATTEN, DENSE, dense(300, "softmax")], "layer_7"),
    "many layers": ([FLATTEN, *[dense(8, "relu")] * 5, OUTPUT], "layer_7"),
    "normalized units": ([FLATTEN, NORMALIZED, DENSE, OUTPUT], "layer_8"),
}


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("end", LINEAR_ENDS)
def test_one_row_of_sums(end: str, precision: torch.dtype) -> None:
    layers, sums = LINEAR_ENDS[end]
    network = chain(*layers).to(precision)
    found = linear_end(network, "layer_5")
    assert found is not None
    assert found.sums == sums
    for layer in ("layer_2", "layer_3"):
        assert isinstance(fast_engine(network, layer, layer), LinearEngine)
        predictions = assert_equal_predictions(network, layer, "layer_5", images=100)
        assert (predictions != predictions[0]).any()


OTHER_ENDS = {
    "a nonlinear pooling": [("GlobalMaxPooling2D", {}), DENSE, OUTPUT],
    "another convolution": [("Conv2D", {"filters": 3, "kernel_size": 2}), FLATTEN, OUTPUT],
    "units that are compared": [FLATTEN, dense(7, "softmax"), OUTPUT],
    "an exponential": [FLATTEN, dense(7, "exponential"), OUTPUT],
    "a threshold": [FLATTEN, dense(7), ("ReLU", {"threshold": 1.0}), OUTPUT],
    "units that are standardised": [FLATTEN, dense(7), ("LayerNormalization", {}), OUTPUT],
}


@pytest.mark.parametrize("end", OTHER_ENDS)
def test_what_is_no_row_of_sums_runs_again(end: str) -> None:
    network = chain(*OTHER_ENDS[end])
    assert type(fast_engine(network, "layer_2", "layer_2")) is SuffixEngine
    predictions = assert_equal_predictions(network, "layer_2", "layer_5", images=100)
    assert (predictions != predictions[0]).any()


def test_a_kernel_that_is_too_large_is_not_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ytf_torch.sweep.fast.MAX_CONTRIBUTIONS", 6 * 4 * 3 * 7 + 7 * 5)
    assert isinstance(
        fast_engine(chain(FLATTEN, DENSE, OUTPUT), "layer_2", "layer_2"), LinearEngine
    )
    larger = chain(FLATTEN, dense(8, "relu"), OUTPUT)
    assert type(fast_engine(larger, "layer_2", "layer_2")) is SuffixEngine


@pytest.mark.parametrize("end", ["relu", "a mean", "no hidden units", "one unit"])
@pytest.mark.parametrize("size", [1e3, 1e6, 1e9])
def test_huge_channels_that_cancel_and_hide_the_margin(end: str, size: float) -> None:
    """The sum left after the large terms cancel is far below their float32 spacing (ulp)."""
    network = chain(
        *LINEAR_ENDS[end][0], maps=[*MAPS[:2], ("Conv2D", MAPS[2][1] | {"activation": "relu"})]
    )
    with torch.no_grad():
        convolution = network.layer_2
        for tensor in (convolution.weight, convolution.bias):
            tensor[1] = tensor[0]
        follower = network.layer_4
        columns = follower.weight.view(len(follower.weight), 6, -1)
        columns[:, 0] = size * columns[:, 0].sign()
        columns[:, 1] = -columns[:, 0]
    assert isinstance(fast_engine(network, "layer_2", "layer_2"), LinearEngine)
    assert_equal_predictions(network, "layer_2", "layer_2", images=200)


@pytest.mark.parametrize("end", ["relu", "tanh", "a mean", "no hidden units", "many layers"])
@pytest.mark.parametrize("margin", [0.0, 1e-7, 1e-5])
def test_classes_that_are_almost_tied_on_every_image(end: str, margin: float) -> None:
    network = chain(*LINEAR_ENDS[end][0])
    with torch.no_grad():
        output = network.layer(network.graph.output)
        assert isinstance(output.weight, torch.Tensor)
        assert isinstance(output.bias, torch.Tensor)
        noise = torch.randn_like(output.weight) * margin
        output.weight[:] = output.weight[:1] + noise
        output.bias.fill_(1)
    assert_equal_predictions(network, "layer_2", "layer_2", images=200)


@pytest.mark.parametrize("end", ["relu", "tanh", "a mean", "no hidden units"])
@pytest.mark.parametrize("value", [1e30, 3e38, torch.inf, torch.nan])
@pytest.mark.parametrize("place", ["sums", "output"])
def test_logits_that_overflow(end: str, value: float, place: str) -> None:
    network = chain(*LINEAR_ENDS[end][0])
    name = network.graph.output if place == "output" else "layer_7"
    with torch.no_grad():
        weight = network.layer(name).weight
        assert isinstance(weight, torch.Tensor)
        weight[0, :4] = value
    assert_equal_predictions(network, "layer_2", "layer_2", images=70)


def test_a_shortcut_around_the_maps() -> None:
    """Maps that are first added to others, and then enter the linear layer."""
    way = {"filters": 6, "kernel_size": 1}
    records = [
        {"name": name, "class_name": class_name, "config": config, "inputs": inputs}
        for name, class_name, config, inputs in (
            ("image", "InputLayer", {"batch_shape": [None, 9, 8, 3]}, []),
            ("before", "Conv2D", way | {"activation": "tanh"}, ["image"]),
            ("within", "Conv2D", way, ["before"]),
            ("scaled", "BatchNormalization", {}, ["within"]),
            ("sum", "Add", {}, ["before", "scaled"]),
            ("mean", "GlobalAveragePooling2D", {}, ["sum"]),
            ("end", "Dense", {"units": 5}, ["mean"]),
        )
    ]
    network = network_of(records)
    for layer in ("within", "scaled"):
        assert isinstance(fast_engine(network, layer, layer), LinearEngine)
        predictions = assert_equal_predictions(network, layer, layer, images=100)
        assert (predictions != predictions[0]).any()
    assert type(fast_engine(network, "before", "before")) is SuffixEngine
    assert_equal_predictions(network, "before", "before", images=100)


def test_a_network_whose_weights_know_no_gradients() -> None:
    with torch.inference_mode():
        network = copy.deepcopy(chain(FLATTEN, DENSE, OUTPUT))
    assert isinstance(fast_engine(network, "layer_2", "layer_2"), LinearEngine)
    assert_equal_predictions(network, "layer_2", "layer_2")


def test_no_image_or_network_is_changed() -> None:
    network = chain(MEAN, DENSE, OUTPUT)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    engine = fast_engine(network, "layer_2", "layer_2")
    with torch.inference_mode():
        prepared = engine.observe(pictures(network, 32))[1]
        kept = prepared.clone()
        first = engine.predictions(prepared, range(6))
        assert torch.equal(prepared, kept)
        assert torch.equal(engine.predictions(prepared, range(6)), first)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(tensor.grad is not None for tensor in network.parameters())
