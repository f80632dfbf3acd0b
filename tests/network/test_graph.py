from __future__ import annotations

import pytest
import torch

from tests.made.keras_files import SMALL
from ytf_torch.network.deepid import DeepID
from ytf_torch.network.deepid_graph import DEEPID
from ytf_torch.network.graph import Fork, Graph, Layer


@pytest.mark.parametrize(
    ("layer", "points"),
    [("conv_1", ("pool_1", "conv_1")), ("conv_3", ("pool_3", "conv_3")), ("conv_4", ("conv_4",))],
)
def test_channels_are_ranked_at_the_pool_or_at_the_convolution(
    layer: str, points: tuple[str, ...]
) -> None:
    assert DEEPID.rank_points(layer) == points


@pytest.mark.parametrize("name", ["pool_3", "fc_1", "conv_5"])
def test_only_convolutions_have_rank_points(name: str) -> None:
    with pytest.raises(ValueError, match=f"conv_1, conv_2, conv_3, conv_4.*found {name}"):
        DEEPID.rank_points(name)


@pytest.mark.parametrize(
    ("name", "readers"),
    [
        ("pool_1", ("conv_2",)),
        ("conv_3", ()),
        ("pool_3", ("fc_1", "conv_4")),
        ("conv_4", ("fc_2",)),
        ("fc_1", ()),
    ],
)
def test_what_is_linear_up_to_the_next_relu(name: str, readers: tuple[str, ...]) -> None:
    assert DEEPID.linear_readers(name) == readers


def test_deepid_ends_in_a_fork() -> None:
    assert DEEPID.fork() == Fork("pool_3", "fc_1", "conv_4", "fc_2", "output")


def test_a_network_without_a_fork() -> None:
    chain = Graph(
        (
            Layer("input", "input"),
            Layer("conv", "convolution", ("input",)),
            Layer("flat", "flatten", ("conv",)),
            Layer("dense", "dense", ("flat",)),
            Layer("relu", "relu", ("dense",)),
            Layer("output", "dense", ("relu",)),
        )
    )
    assert chain.fork() is None


def test_keras_lists_layers_from_the_farthest_from_the_output() -> None:
    names = [layer.name for layer in DEEPID.by_depth()]
    ends = ["conv_4", "flatten_1", "flatten_2", "fc_1", "fc_2", "add_1", "activation_1", "output"]
    assert names[7:] == ends


@pytest.mark.parametrize("known", ["input", "conv_2", "pool_3"])
def test_logits_can_be_computed_from_any_layer_on(known: str) -> None:
    model = DeepID(SMALL).eval()
    pixels = torch.randint(0, 256, (3, *SMALL.input_shape), dtype=torch.uint8)
    with torch.inference_mode():
        output = model.output_of(known, {"input": model.scale(pixels)})
        assert tuple(output.shape[1:]) == model.output_shape(known)
        assert torch.equal(model.output_of("output", {known: output}), model(pixels))
