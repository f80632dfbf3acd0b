"""Preprocessing of pixel values."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.made.badnet import made_badnet
from tests.made.keras_files import SMALL, random_images
from tests.made.preprocessed import PREPROCESSINGS, reading_as
from tests.made.real_keras import real_keras
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ytf_torch.network.compact import compact
from ytf_torch.network.deepid import deepid
from ytf_torch.network.graph import graph_from_json
from ytf_torch.network.masking import bake_mask
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import (
    KERAS_MODES,
    RAW,
    Preprocessing,
    asked_preprocessing,
    parse_preprocessing,
    preprocessing_from,
)

EVERY = pytest.mark.parametrize("name", PREPROCESSINGS)
PIXEL = (10.0, 128.0, 255.0)


def read_of(preprocessing: Preprocessing, pixel: tuple[float, ...] = PIXEL) -> list[float]:
    """The preprocessed values of one RGB pixel."""
    network = deepid(SMALL).double()
    network.pixel_preprocessing = preprocessing
    picture = torch.tensor(pixel).view(1, 3, 1, 1).expand(1, *network.input_shape)
    return network.scale(picture)[0, :, 0, 0].tolist()


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        (RAW, [10, 128, 255]),
        (Preprocessing(0.5), [5, 64, 127.5]),
        (Preprocessing(0.5, -1), [4, 63, 126.5]),
        (Preprocessing((1, 0.5, 2), (0, 1, -1)), [10, 65, 509]),
        (Preprocessing((1, 0.5, 2), (0, 1, -1), "bgr"), [255, 65, 19]),
        (KERAS_MODES["tf"], [10 / 127.5 - 1, 128 / 127.5 - 1, 1]),
        (KERAS_MODES["caffe"], [255 - 103.939, 128 - 116.779, 10 - 123.68]),
        (
            KERAS_MODES["torch"],
            [
                (10 / 255 - 0.485) / 0.229,
                (128 / 255 - 0.456) / 0.224,
                (1 - 0.406) / 0.225,
            ],
        ),
    ],
)
def test_each_channel_is_pixel_times_scale_plus_offset_once_in_order(
    preprocessing: Preprocessing, expected: list[float]
) -> None:
    assert read_of(preprocessing) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.real_keras
@pytest.mark.parametrize("mode", KERAS_MODES)
def test_the_modes_are_those_of_keras(mode: str) -> None:
    images = random_images(SMALL, 4).astype(np.float32)
    utils = real_keras("keras").src.applications.imagenet_utils
    expected = utils.preprocess_input(images.transpose(0, 2, 3, 1).copy(), mode=mode)
    network = deepid(SMALL)
    network.pixel_preprocessing = KERAS_MODES[mode]
    found = network.scale(torch.from_numpy(images)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=3e-5)
    if mode == "tf":
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("scale", [1.0, 1 / 255, 0.0123])
def test_a_pixel_scale_is_short_for_a_preprocessing(scale: float) -> None:
    images = torch.from_numpy(random_images(SMALL, 3))
    torch.manual_seed(0)
    short = deepid(SMALL, scale).eval()
    long = Network.of_state(short.graph, short.state_dict(), Preprocessing(scale), "test")
    assert torch.equal(short(images), long(images))
    assert short.pixel_preprocessing == long.pixel_preprocessing
    assert (long.pixel_preprocessing.only_scales, long.pixel_scale) == (True, scale)


def test_numbers_that_all_channels_share_are_one_number() -> None:
    assert Preprocessing((0.5, 0.5, 0.5), (-1, -1.0, -1)) == Preprocessing(0.5, -1.0)
    assert Preprocessing(offset=(-0.0, 0, 0)) == RAW


@EVERY
def test_its_text_gives_it_back_exactly(name: str) -> None:
    preprocessing = PREPROCESSINGS[name]
    assert parse_preprocessing(preprocessing.text) == preprocessing
    assert preprocessing.text == name or name not in KERAS_MODES


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("tf", KERAS_MODES["tf"]),
        (" caffe ", KERAS_MODES["caffe"]),
        ("1/255", Preprocessing(1 / 255)),
        ('{"scale": "1/127.5", "offset": -1}', KERAS_MODES["tf"]),
        ({"scale": [1, 1, "1/2"]}, Preprocessing((1, 1, 0.5))),
        ({"channel_order": "bgr"}, Preprocessing(channel_order="bgr")),
        (KERAS_MODES["torch"], KERAS_MODES["torch"]),
    ],
)
def test_forms_of_a_preprocessing(given: object, expected: Preprocessing) -> None:
    assert preprocessing_from(given) == asked_preprocessing(None, given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "expected tf, caffe, torch or scale, offset and channel_order"),
        ("imagenet", "found 'imagenet'"),
        ("255", "found '255'"),
        ("{", "expected scale, offset"),
        ("{}", "expected tf, caffe, torch"),
        (3, "expected tf, caffe, torch or .* found 3"),
        ({"scales": 1}, "expected of scale, offset, channel_order, found 'scales'"),
        ({"scale": 0}, "a finite number above 0.* found 0"),
        ({"scale": [1, -1, 1]}, "a finite number above 0.* found -1"),
        ({"scale": []}, r"a number such as 1, .* found \[\]"),
        ({"scale": True}, "a number such as 1, .* found True"),
        ({"scale": [[1]]}, r"a number such as 1, .* found \[1\]"),
        ({"offset": "nan"}, "a finite offset"),
        ({"offset": 10**400}, "a finite offset"),
        ({"offset": "-"}, "a number such as 1, .* found -"),
        ({"channel_order": "grb"}, "a channel_order of rgb or bgr, found grb"),
        ({"channel_order": ["bgr"]}, "a channel_order of rgb or bgr"),
    ],
)
def test_what_is_no_preprocessing(given: object, message: str) -> None:
    with pytest.raises(InputError, match=f"`preprocessing`: .*{message}"):
        preprocessing_from(given)


def test_both_ways_of_asking_at_once_are_refused() -> None:
    with pytest.raises(InputError, match=r"`pixel_scale` is short for `preprocessing`.*found both"):
        asked_preprocessing("1/255", "tf")


def grey_network(preprocessing: Preprocessing) -> Network:
    layers: list[dict[str, Any]] = [
        {"name": "input", "class_name": "InputLayer", "config": {"batch_shape": [None, 8, 8, 1]}},
        {"name": "flat", "class_name": "Flatten", "config": {}},
        {"name": "scores", "class_name": "Dense", "config": {"units": 4}},
    ]
    record = [
        layer | {"inputs": [str(before["name"])] if before else []}
        for layer, before in zip(layers, [None, *layers], strict=False)
    ]
    return Network(graph_from_json(record, "grey"), preprocessing)


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        (KERAS_MODES["caffe"], "one offset, or one for each of 1 channels, found 3"),
        (KERAS_MODES["torch"], "one scale, or one for each of 1 channels, found 3"),
        (Preprocessing(channel_order="bgr"), "images of 3 channels for the order bgr, found 1"),
    ],
)
def test_a_preprocessing_of_other_channels_is_refused(
    preprocessing: Preprocessing, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        grey_network(preprocessing)
    assert grey_network(KERAS_MODES["tf"]).pixel_preprocessing == KERAS_MODES["tf"]


@EVERY
def test_a_network_that_reads_otherwise_can_answer_alike(name: str) -> None:
    badnet = made_badnet()
    network = reading_as(badnet.network, PREPROCESSINGS[name])
    with torch.inference_mode():
        found, expected = network(badnet.clean), badnet.network(badnet.clean)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@EVERY
def test_a_scale_for_training_keeps_the_answers_and_goes_back_exactly(name: str) -> None:
    badnet = made_badnet()
    network = reading_as(badnet.network, PREPROCESSINGS[name])
    own, images = network.pixel_scale, badnet.clean[:16]
    with torch.inference_mode():
        before = network(images)
        network.read_pixels_at(1 / 64)
        torch.testing.assert_close(network(images), before, rtol=1e-3, atol=1e-3)
        assert network.pixel_scale == pytest.approx(1 / 64)
        network.read_pixels_at(own)
        torch.testing.assert_close(network(images), before, rtol=1e-3, atol=1e-3)
    assert network.pixel_preprocessing == PREPROCESSINGS[name]
    assert network.fresh().pixel_preprocessing == PREPROCESSINGS[name]


@EVERY
def test_a_compact_network_reads_the_same(name: str) -> None:
    badnet = made_badnet()
    masked = bake_mask(reading_as(badnet.network, PREPROCESSINGS[name]), "conv_3", [0, 3])
    smaller = compact(masked)
    assert smaller.conv_3.out_channels == 8
    assert smaller.pixel_preprocessing == PREPROCESSINGS[name]
    with torch.inference_mode():
        found, expected = smaller(badnet.clean), masked(badnet.clean)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def saved(folder: Path, checkpoint: Checkpoint, preprocessing: Preprocessing) -> Path:
    path = folder / "net.safetensors"
    network = reading_as(checkpoint.model, preprocessing)
    provenance = replace(checkpoint.provenance, preprocessing=preprocessing)
    save_checkpoint(Checkpoint(network, provenance), path)
    return path


def metadata_of(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return dict(header["__metadata__"])


@EVERY
def test_a_checkpoint_has_it_in_a_format_that_older_versions_refuse(
    tmp_path: Path, checkpoint: Checkpoint, name: str
) -> None:
    path = saved(tmp_path, checkpoint, PREPROCESSINGS[name])
    again = load_checkpoint(path)
    assert again.provenance.preprocessing == PREPROCESSINGS[name]
    assert again.model.pixel_preprocessing == PREPROCESSINGS[name]
    metadata = metadata_of(path)
    assert metadata["format"] == "ytf-torch/4"
    assert "pixel_scale" not in metadata


def test_a_checkpoint_of_a_pixel_scale_is_as_ever(tmp_path: Path, checkpoint: Checkpoint) -> None:
    metadata = metadata_of(saved(tmp_path, checkpoint, Preprocessing(1 / 255)))
    assert metadata["format"] == "ytf-torch/3"
    assert json.loads(metadata["pixel_scale"]) == 1 / 255
    assert "preprocessing" not in metadata


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, "metadata preprocessing: expected JSON"),
        ("{", "metadata preprocessing: expected JSON"),
        ("3", "metadata preprocessing: expected tf"),
        ('{"scale": "x"}', "metadata preprocessing: expected a number"),
        ('{"scale": [1, 2]}', "preprocessing: expected one scale, or one for each of 3 channels"),
        ('{"offset": NaN}', "metadata preprocessing: expected a finite offset"),
        ('{"offset": ' + "9" * 5000 + "}", "metadata preprocessing: expected"),
        ("[" * 900 + "]" * 900, "metadata preprocessing: expected"),
        ('{"scale": ' + "[" * 900 + "]" * 900 + "}", "metadata preprocessing: expected"),
        ('{"channel_order": ' + "[" * 900 + "]" * 900 + "}", "metadata preprocessing: expected"),
    ],
)
def test_a_checkpoint_with_another_one_is_refused(
    tmp_path: Path, checkpoint: Checkpoint, told: str | None, message: str
) -> None:
    path = saved(tmp_path, checkpoint, KERAS_MODES["tf"])
    metadata = {key: text for key, text in metadata_of(path).items() if key != "preprocessing"}
    tensors = {name: t.contiguous() for name, t in checkpoint.model.state_dict().items()}
    save_file(tensors, path, metadata if told is None else metadata | {"preprocessing": told})
    with pytest.raises(InputError, match=message):
        load_checkpoint(path)


def test_a_layer_may_be_called_preprocessing(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """Older networks have such layers."""
    config = {"batch_shape": [None, 8, 8, 3]}
    layers: list[dict[str, Any]] = [
        {"name": "input", "class_name": "InputLayer", "config": config, "inputs": []},
        {"name": "preprocessing", "class_name": "Rescaling", "config": {"scale": 0.1}},
        {"name": "flat", "class_name": "Flatten", "config": {}, "inputs": ["preprocessing"]},
        {"name": "scores", "class_name": "Dense", "config": {"units": 4}, "inputs": ["flat"]},
    ]
    layers[1]["inputs"] = ["input"]
    network = Network(graph_from_json(layers, "test"), KERAS_MODES["tf"]).eval()
    provenance = replace(
        checkpoint.provenance,
        preprocessing=KERAS_MODES["tf"],
        input_shape=(3, 8, 8),
        classes=4,
    )
    save_checkpoint(Checkpoint(network, provenance), tmp_path / "net.safetensors")
    assert load_checkpoint(tmp_path / "net.safetensors").model.graph == network.graph
