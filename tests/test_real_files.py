"""The published weights and the real faces, where they are: figures that real Keras gave."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ytf_torch
from tests.convert.test_parity import ZOO
from ytf_torch.commands.prune import run_prune
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.metrics import Share
from ytf_torch.network.masking import bake_mask
from ytf_torch.network.module import Network
from ytf_torch.run.settings import PruneSettings
from ytf_torch.sweep.drop import first_step_of_drop
from ytf_torch.sweep.order import ascending_order

pytestmark = pytest.mark.shared_files


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "reference" / "lab3_published_run.json").read_text())


@pytest.mark.parametrize(("drop", "channels"), [("2", 45), ("4", 48), ("10", 52)])
def test_the_published_run_gives_the_published_channels(
    published: dict[str, Any], drop: str, channels: int
) -> None:
    images = 11547
    percentages = [
        published["baseline"]["valid_clean_accuracy"],
        *published["per_step_valid_clean_accuracy"],
    ]
    correct = [round(percent / 100 * images) for percent in percentages]
    np.testing.assert_allclose([100 * c / images for c in correct], percentages, rtol=1e-12)
    assert first_step_of_drop(correct, images, Fraction(drop)) == channels
    order = ascending_order(published["pool_3_mean_activation"])
    assert set(order[:channels]) == set(published["order"][:channels])
    assert list(order[31:]) == published["order"][31:]


@pytest.mark.parametrize(
    ("name", "channels"), [("lab3_pruned_45_keras240", 45), ("lab3_pruned_52_keras270", 52)]
)
def test_masking_the_published_channels_gives_the_published_pruned_model(
    shared: Path, published: dict[str, Any], name: str, channels: int
) -> None:
    def model(key: str) -> Network:
        return keras_checkpoint(read_keras_file(shared / ZOO[key]), 1.0).model

    ours = bake_mask(model("bd_weights"), "conv_3", published["order"][:channels]).state_dict()
    for key, theirs in model(name).state_dict().items():
        assert ours[key].numpy().tobytes() == theirs.numpy().tobytes(), key


@pytest.fixture(scope="module")
def orl(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    """result.json of the real faces, and Keras's trace of the same loop."""
    faces = shared / "data" / "orl"
    out = tmp_path_factory.mktemp("orl") / "run"
    run_prune(
        PruneSettings(
            model=faces / "models" / "bd_net.h5",
            clean_valid=faces / "cl" / "valid.h5",
            clean_test=faces / "cl" / "test.h5",
            poisoned_test=(faces / "bd" / "bd_test.h5",),
            device="cpu",
            out=out,
        )
    )
    trace = json.loads((shared / "reference" / "orl_keras_trace.json").read_text())
    return json.loads((out / "result.json").read_text()), trace


ONE_IMAGE = 100 / 1200 + 1e-9
KEYS = {
    "clean_valid_accuracy": "valid",
    "clean_test_accuracy": "test",
    "attack_success_rate": "bd_test",
}


def test_the_order_is_keras_s_wherever_means_differ(orl: tuple[dict, dict]) -> None:
    result, trace = orl
    np.testing.assert_allclose(result["mean_activation"], trace["mean_pool_3"], rtol=1e-4)
    assert result["order"] == trace["order"]


def test_every_step_is_keras_s_within_one_image(orl: tuple[dict, dict]) -> None:
    result, trace = orl
    for ours, keras in zip(
        [result["baseline"], *result["steps"]], [trace["baseline"], *trace["steps"]], strict=True
    ):
        for mine, theirs in KEYS.items():
            assert ours[mine] == pytest.approx(keras[theirs], abs=ONE_IMAGE)


@pytest.mark.parametrize(("drop", "channels"), [("2", 51), ("4", 52), ("10", 55)])
def test_repaired_and_goodnet_are_keras_s_within_one_image(
    orl: tuple[dict, dict], drop: str, channels: int
) -> None:
    found, keras = orl[0]["drops"][drop], orl[1]["thresholds"][drop]
    assert found["channels_pruned"] == keras["pruned"] == channels
    for model in ("repaired", "goodnet"):
        for mine, theirs in list(KEYS.items())[1:]:
            assert found[model][mine] == pytest.approx(keras[model][theirs], abs=ONE_IMAGE)
    goodnet, flagged = found["goodnet"], keras["flagged"]
    assert goodnet["false_positive_rate"] == pytest.approx(flagged["test"], abs=ONE_IMAGE)
    assert goodnet["true_positive_rate"] == pytest.approx(flagged["bd_test"], abs=ONE_IMAGE)


# What Keras 3.15.1 and tf-keras 2.21.0 answer on all images, both the same.
@pytest.mark.parametrize(
    ("folder", "model", "correct", "attacked"),
    [
        ("mnist-pixel", "bd_net.h5", 2981, 2999),
        ("mnist-pixel", "clean_net.h5", 2970, 301),
        ("gtsrb", "bd_net.hdf5", 2861, 2988),
    ],
)
def test_figures_of_other_networks_are_keras_s_to_the_image(
    shared: Path, folder: str, model: str, correct: int, attacked: int
) -> None:
    data = shared / "data" / folder
    sets = (data / "cl" / "test.h5", [data / "bd" / "bd_test.h5"])
    found = ytf_torch.evaluate(data / "models" / model, *sets, pixel_scale=1 / 255).model
    assert found.clean_accuracy == Share.of(correct, 3000)
    assert found.attack_success_rate == Share.of(attacked, 3000)
