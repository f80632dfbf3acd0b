from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.made.keras_files import LAB
from ytf_torch.convert.model_file import read_model
from ytf_torch.errors import InputError
from ytf_torch.network.deepid import deepid
from ytf_torch.network.graph import graph_from_json
from ytf_torch.network.likelier_scale import likelier_pixel_scale, rescaled
from ytf_torch.network.module import Network
from ytf_torch.network.pixel_scale import parse_pixel_scale, pixel_scale_text

RAW, DIVIDED = 1.0, 1 / 255


@pytest.mark.parametrize(
    ("text", "scale"),
    [("1", 1.0), ("1/255", 1 / 255), ("0.5", 0.5), (" 2 / 4 ", 0.5), ("1/127.5", 1 / 127.5)],
)
def test_pixel_scales(text: str, scale: float) -> None:
    assert parse_pixel_scale(text) == scale
    assert parse_pixel_scale(pixel_scale_text(scale)) == scale


@pytest.mark.parametrize("text", ["", "x", "1/0", "-1", "nan", "1/", "inf", "1/2/3"])
def test_what_is_no_pixel_scale(text: str) -> None:
    with pytest.raises(InputError, match="1 or 1/255"):
        parse_pixel_scale(text)


@pytest.mark.parametrize(("text", "divisor"), [("255", "255"), ("127.5", "127.5"), ("2/1", "2")])
def test_a_divisor_is_no_factor(text: str, divisor: str) -> None:
    with pytest.raises(InputError, match=f"found {text}.* divided by {divisor} has 1/{divisor}"):
        parse_pixel_scale(text)


def trained_for(scale: float, weights_seed: int = 0, last: float = 1) -> Network:
    """A stand-in for a trained network: the input of its last layer is as large as in networks
    trained with this scale. last: factor on the last layer."""
    torch.manual_seed(weights_seed)
    network = deepid(LAB, scale).fresh().eval()
    with torch.inference_mode():
        network.conv_1.weight.div_(scale)
        network.output.weight.mul_(last)
        network.output.bias.mul_(last)
    return network


@pytest.mark.parametrize("last", [1, 0.01, 100])
@pytest.mark.parametrize("weights_seed", [0, 1])
@pytest.mark.parametrize(("own", "other"), [(RAW, DIVIDED), (DIVIDED, RAW)])
def test_a_wrong_scale_shows_however_large_the_logits_are(
    own: float, other: float, weights_seed: int, last: float
) -> None:
    network = trained_for(own, weights_seed, last)
    assert likelier_pixel_scale(network) is None
    assert likelier_pixel_scale(rescaled(network, other)) == own
    assert network.pixel_scale == own


def test_a_network_that_fits_no_usual_scale_is_not_doubted() -> None:
    assert likelier_pixel_scale(rescaled(trained_for(RAW), 1e-6)) == RAW
    silent = trained_for(RAW)
    with torch.inference_mode():
        silent.output.weight.zero_()
    assert likelier_pixel_scale(silent) is None


def test_a_scale_with_which_the_picture_hardly_matters_is_not_likelier() -> None:
    network = trained_for(DIVIDED)
    likelier = likelier_pixel_scale(rescaled(network, RAW))
    with torch.inference_mode():
        for bias in (value for name, value in network.named_parameters() if name.endswith("bias")):
            bias.copy_(torch.linspace(-300, 300, len(bias)))
    assert (likelier, likelier_pixel_scale(rescaled(network, RAW))) == (DIVIDED, None)


@pytest.mark.shared_files
@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("zoo/bd_weights.h5", RAW),
        ("zoo/lab3_pruned_45_keras240.h5", RAW),
        ("zoo/lab3_pruned_52_keras270.h5", RAW),
        ("zoo/sunglasses_bd_weights.h5", DIVIDED),
        ("data/orl/models/bd_net.h5", RAW),
        ("data/lfw/models/bd_net.h5", RAW),
    ],
)
@pytest.mark.parametrize("last", [1, 0.05, 20])
def test_real_networks_tell_their_scale(shared: Path, name: str, scale: float, last: float) -> None:
    network = read_model(shared / name, scale).model
    with torch.inference_mode():
        for parameter in network.get_submodule("output").parameters():
            parameter.mul_(last)
    assert likelier_pixel_scale(network) is None
    wrong = DIVIDED if scale == RAW else RAW
    assert likelier_pixel_scale(rescaled(network, wrong)) == scale


@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_of_networks_that_read_grey_pictures_nothing_tells(scale: float) -> None:
    layers = [
        {"name": "input", "class_name": "InputLayer", "config": {"batch_shape": [None, 8, 8, 1]}},
        {"name": "flat", "class_name": "Flatten", "config": {}},
        {"name": "scores", "class_name": "Dense", "config": {"units": 4}},
    ]
    record = [
        layer | {"inputs": [str(before["name"])] if before else []}
        for layer, before in zip(layers, [None, *layers], strict=False)
    ]
    network = Network(graph_from_json(record, "grey"), scale).fresh().eval()
    assert likelier_pixel_scale(network) is None
