"""A kind of layer defined outside the package and registered by one line is fully supported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ytf_torch.convert.keras.keras_config import read_config
from ytf_torch.convert.keras.keras_network import graph_of
from ytf_torch.convert.keras.keras_writer import functional_config
from ytf_torch.convert.onnx_writer import run_onnx, write_onnx
from ytf_torch.errors import InputError
from ytf_torch.layers.kind import Kind, Tensors
from ytf_torch.layers.onnx_nodes import OnnxNodes, array_of
from ytf_torch.layers.registry import KINDS, register
from ytf_torch.layers.settings import Config, Settings
from ytf_torch.layers.weight import Shape, Weight, vector
from ytf_torch.network.compact import compact
from ytf_torch.network.graph import Graph, graph_from_json, graph_to_json
from ytf_torch.network.masking import bake_mask
from ytf_torch.network.module import Network
from ytf_torch.sweep.fast import fast_engine
from ytf_torch.sweep.plain import PlainEngine


class Gained(nn.Module):
    def __init__(self, channels: int, power: int) -> None:
        super().__init__()
        self.power = power
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, input: Tensor) -> Tensor:
        return self.gain[:, None, None] * input**self.power


@dataclass(frozen=True)
class Gain(Kind):
    """`gain · x ** power`, with one gain per channel."""

    class_names = ("Gain",)
    channelwise = True
    power: int

    @classmethod
    def of_keras(cls, settings: Settings, *inputs: Shape) -> Self:
        return cls(settings.integer("power", 2))

    def keras_settings(self) -> Config:
        return {"power": self.power}

    def output_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def weights(self, *inputs: Shape) -> tuple[Weight, ...]:
        return (vector("gain", "gain", inputs[0][0], start="ones"),)

    def module(self, *inputs: Shape) -> nn.Module:
        return Gained(inputs[0][0], self.power)

    def onnx(
        self, nodes: OnnxNodes, module: nn.Module, sources: list[str], name: str, *inputs: Shape
    ) -> str:
        powers = nodes.node("Pow", [*sources, nodes.number(f"{name}_power", self.power)], "powers")
        gain = nodes.constant(f"{name}.gain", array_of(module, "gain")[:, None, None])
        return nodes.node("Mul", [powers, gain], name)

    def narrowed(
        self, weights: Tensors, kept: Sequence[Tensor], own: Tensor
    ) -> tuple[Gain, Tensors]:
        return self, {"gain": weights["gain"][own]}


@pytest.fixture
def registered() -> Iterator[None]:
    register(Gain)
    yield
    KINDS.remove(Gain)


CHAIN: list[tuple[str, dict[str, Any]]] = [
    ("InputLayer", {"batch_input_shape": [None, 8, 7, 3]}),
    ("Conv2D", {"filters": 5, "kernel_size": [3, 3], "activation": "relu"}),
    ("Gain", {"power": 3}),
    ("MaxPooling2D", {"pool_size": [2, 2]}),
    ("Flatten", {}),
    ("Dense", {"units": 4, "activation": "softmax"}),
]


def keras_config() -> str:
    layers: list[dict[str, Any]] = [
        {
            "class_name": class_name,
            "config": {"name": f"layer_{number}", **config},
            "inbound_nodes": [[[f"layer_{number - 1}", 0, 0, {}]]] if number else [],
        }
        for number, (class_name, config) in enumerate(CHAIN)
    ]
    ends: dict[str, Any] = {
        "input_layers": [["layer_0", 0, 0]],
        "output_layers": [["layer_5", 0, 0]],
    }
    return json.dumps({"class_name": "Functional", "config": {"layers": layers, **ends}})


def network_of(graph: Graph) -> Network:
    torch.manual_seed(0)
    state = {
        f"{name}.{weight.name}": torch.rand(weight.shape) - 0.4
        for name in graph.weighted
        for weight in graph.weights(name)
    }
    return Network.of_state(graph, state, 1.0, "test")


@pytest.fixture
def network(registered: None) -> Network:
    return network_of(graph_of(read_config(keras_config(), "test"), "test"))


PIXELS = torch.rand(64, 3, 8, 7, generator=torch.Generator().manual_seed(1))


def test_it_is_refused_by_name_until_it_is_registered() -> None:
    with pytest.raises(InputError, match="Gain"):
        graph_of(read_config(keras_config(), "test"), "test")


def test_it_is_converted_stored_and_written_back(network: Network) -> None:
    graph = network.graph
    assert graph["layer_2"].kind == Gain(3)
    assert graph_from_json(graph_to_json(graph), "test") == graph
    written = {layer["name"]: layer for layer in functional_config(network)["layers"]}
    assert written["layer_2"]["class_name"] == "Gain"
    assert written["layer_2"]["config"]["power"] == 3


def test_it_computes_its_output(network: Network) -> None:
    before = network.output_of("layer_1", {"layer_0": PIXELS})
    after = network.output_of("layer_2", {"layer_1": before})
    assert after.equal(network.layer_2.gain[:, None, None] * before**3)


def test_the_fast_sweep_of_the_layer_before_it_agrees_with_the_plain_one(network: Network) -> None:
    engines = [make(network, "layer_1", "layer_3") for make in (fast_engine, PlainEngine)]
    order = (3, 0, 4, 1, 2)
    with torch.inference_mode():
        observed = [engine.observe(PIXELS) for engine in engines]
        assert observed[0][0].equal(observed[1][0])
        fast, plain = (
            engine.predictions(prepared, order)
            for engine, (_, prepared) in zip(engines, observed, strict=True)
        )
    assert fast.equal(plain)
    assert len(plain.unique()) > 1


def test_its_input_channels_can_be_removed(network: Network) -> None:
    masked = bake_mask(network, "layer_1", [0, 3])
    smaller = compact(masked)
    assert smaller.output_shape("layer_2")[0] == 3
    with torch.inference_mode():
        torch.testing.assert_close(smaller(PIXELS), masked(PIXELS))


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_it_is_exported(network: Network, tmp_path: Path, precision: torch.dtype) -> None:
    pytest.importorskip("onnx")
    network = network.to(precision)
    write_onnx(tmp_path / "network.onnx", network)
    _, logits = run_onnx(tmp_path / "network.onnx", [PIXELS.to(precision).numpy()])
    with torch.inference_mode():
        ours = network(PIXELS).numpy()
    assert np.abs(logits - ours).max() <= 1e-5 * np.abs(ours).max()
