"""The semantics that are easy to get wrong, numbered as in the design: one test each, that fails
when one gets it wrong."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.conftest import ROOT
from tests.made.keras_files import (
    SMALL,
    random_images,
    random_weights,
    write_faces,
    write_keras_file,
)
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.images.opening import open_images
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.masking import ChannelMask, bake_mask
from ytf_torch.sweep.drop import first_step_of_drop
from ytf_torch.sweep.order import ascending_order
from ytf_torch.sweep.passes import sweep

GOLDEN = ROOT / "tests" / "golden"


def outputs_at(checkpoint: Checkpoint, name: str, pixels: torch.Tensor) -> torch.Tensor:
    seen = []
    handle = checkpoint.model.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: seen.append(output)
    )
    with torch.inference_mode():
        checkpoint.model(pixels)
    handle.remove()
    return seen[0]


def test_1_ranking_looks_at_pool_3_and_the_mask_acts_on_conv_3(
    tmp_path: Path,
) -> None:
    sizes = replace(SMALL, channels=(3, 4, 24, 5))
    path = write_keras_file(tmp_path / "net.h5", sizes, random_weights(sizes))
    checkpoint = keras_checkpoint(read_keras_file(path), 1.0)
    images = random_images(sizes, 16)
    faces = open_images(
        write_faces(tmp_path / "valid.h5", images, np.zeros(16)), (3, 55, 47), sizes.classes
    )
    orders = {}
    for rank_at in ("pool_3", "conv_3"):
        swept = sweep(checkpoint.model, faces, rank_at=rank_at)
        output = outputs_at(checkpoint, rank_at, torch.from_numpy(images))
        assert swept.mean_activation == pytest.approx(output.mean((0, 2, 3)).tolist(), rel=1e-5)
        orders[rank_at] = swept.order
    assert orders["pool_3"] != orders["conv_3"]


@pytest.mark.parametrize(
    ("correct", "images", "drop", "step"),
    [
        pytest.param([98, 98, 97, 96, 94], 100, "2", 3, id="exactly the drop counts"),
        pytest.param([98, 98, 97, 97, 94], 100, "2", 4, id="one image short does not"),
        pytest.param([90, 85, 95, 80], 100, "4", 1, id="accuracy may rise again: first step"),
        pytest.param([90, 95, 92], 100, "2", None, id="baseline is the unpruned accuracy"),
        pytest.param([1123, 1100, 1099], 1200, "2", 2, id="2 % of 1200 is 24: 23 is too few"),
        pytest.param([7, 6], 7, "14.3", None, id="1 of 7 is below 14.3 points: no rounding"),
        pytest.param([7, 6], 7, "14.25", 1, id="1 of 7 is above 14.25 points"),
    ],
)
def test_2_a_drop_compares_counts(
    correct: list[int], images: int, drop: str, step: int | None
) -> None:
    assert first_step_of_drop(correct, images, Fraction(drop)) == step


def test_3_channels_that_never_fire_go_first_by_index_and_change_nothing(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    with torch.no_grad():
        for channel in (4, 1):
            checkpoint.model.convolution("conv_3").weight[channel] = 0
            checkpoint.model.convolution("conv_3").bias[channel] = -1
    images = random_images(SMALL, 16)
    with torch.inference_mode():
        labels = checkpoint.model(torch.from_numpy(images)).argmax(1).numpy()
    faces = open_images(write_faces(tmp_path / "valid.h5", images, labels), (3, 55, 47), 7)
    swept = sweep(checkpoint.model, faces)
    dead = tuple(channel for channel, mean in enumerate(swept.mean_activation) if mean == 0)
    assert {1, 4} <= set(dead)
    assert swept.order[: len(dead)] == dead
    assert swept.tallies[0].correct[: len(dead) + 1] == (16,) * (len(dead) + 1)
    assert ascending_order([0.5, 0.0, 0.2, 0.0, 0.0]) == (1, 3, 4, 2, 0)


@pytest.mark.parametrize("dense", ["fc_1", "fc_2"])
def test_4_dense_kernels_after_flatten_are_read_in_hwc_order(keras_file: Path, dense: str) -> None:
    file = read_keras_file(keras_file)
    model = keras_checkpoint(file, 1.0).model
    tapped = "pool_3" if dense == "fc_1" else "conv_4"
    taps = outputs_at(
        keras_checkpoint(file, 1.0), tapped, torch.from_numpy(random_images(SMALL, 3))
    )
    keras = taps.permute(0, 2, 3, 1).reshape(3, -1).numpy() @ file.weights[dense]["kernel"]
    with torch.inference_mode():
        ours = model.get_submodule(dense)(taps.flatten(1)) - model.get_submodule(dense).bias
    np.testing.assert_allclose(ours.numpy(), keras, rtol=1e-4, atol=1e-3)
    unpermuted = taps.flatten(1).numpy() @ file.weights[dense]["kernel"]
    assert np.abs(unpermuted - keras).max() > 1


def test_5_the_module_ends_in_logits(checkpoint: Checkpoint) -> None:
    golden = np.load(GOLDEN / "small.npz")["logits"]
    with torch.inference_mode():
        logits = checkpoint.model(torch.from_numpy(random_images(SMALL, len(golden))))
    assert np.abs(logits.numpy() - golden).max() <= 2e-6 * np.abs(golden).max()
    assert (logits < 0).any()


def test_6_a_forward_hook_on_conv_3_sees_values_after_the_relu(checkpoint: Checkpoint) -> None:
    pixels = torch.from_numpy(random_images(SMALL, 3))
    conv_3 = checkpoint.model.convolution("conv_3")
    with torch.inference_mode():
        raw = F.conv2d(outputs_at(checkpoint, "pool_2", pixels), conv_3.weight, conv_3.bias)
    seen = outputs_at(checkpoint, "conv_3", pixels)
    assert (raw < 0).any()
    torch.testing.assert_close(seen, raw.clamp(min=0))


def test_7_pruning_zeroes_kernel_and_bias(checkpoint: Checkpoint) -> None:
    pixels = torch.from_numpy(random_images(SMALL, 8))
    with torch.no_grad():
        checkpoint.model.convolution("conv_3").bias.fill_(50)
    baked = bake_mask(checkpoint.model, "conv_3", [0, 3])
    assert not baked.convolution("conv_3").weight[[0, 3]].any()
    assert not baked.convolution("conv_3").bias[[0, 3]].any()
    kept_bias = bake_mask(checkpoint.model, "conv_3", [0, 3])
    with torch.inference_mode(), ChannelMask(checkpoint.model.convolution("conv_3"), [0, 3]):
        masked = checkpoint.model(pixels)
        torch.testing.assert_close(baked(pixels), masked, rtol=0, atol=0)
        with torch.no_grad():
            kept_bias.convolution("conv_3").bias[[0, 3]] = 50
        assert (kept_bias(pixels) - masked).abs().max() > 1


@pytest.mark.parametrize("full_model", [True, False], ids=["full model", "weights only"])
@pytest.mark.parametrize("as_bytes", [True, False], ids=["bytes", "str"])
@pytest.mark.parametrize(
    "variant",
    [
        pytest.param({"class_name": "Model", "keras_version": "2.2.2"}, id="Model"),
        pytest.param({"class_name": "Functional", "keras_version": "2.7.0"}, id="Functional"),
        pytest.param({"optimizer": True}, id="optimizer weights"),
        pytest.param({"split_names": True}, id="split attributes"),
        pytest.param({"weight_path": "{part}"}, id="bare names"),
        pytest.param({"weight_path": "{layer}_3/{part}_1:0"}, id="suffixes"),
    ],
)
def test_8_all_variants_of_a_file_give_one_model(
    tmp_path: Path, full_model: bool, as_bytes: bool, variant: dict[str, Any]
) -> None:
    weights = random_weights(SMALL)
    path = write_keras_file(
        tmp_path / "net.h5", SMALL, weights, full_model=full_model, as_bytes=as_bytes, **variant
    )
    file = read_keras_file(path)
    found = keras_checkpoint(file, 1.0)
    assert found.provenance.keras_version == variant.get("keras_version", "2.14.0")
    plain = write_keras_file(tmp_path / "plain.h5", SMALL, weights)
    expected = keras_checkpoint(read_keras_file(plain), 1.0).model.state_dict()
    for name, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
