from __future__ import annotations

import pytest
import torch

from tests.made.keras_files import SMALL, random_images
from ytf_torch.network.checkpoint import (
    Checkpoint,
    compact_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from ytf_torch.network.compact import compact, cost_of, dead_channels
from ytf_torch.network.masking import bake_mask

PIXELS = torch.from_numpy(random_images(SMALL, 24))


@pytest.mark.parametrize(
    ("layer", "channels", "left"),
    [
        ("conv_1", [1], (2, 4, 6, 5)),
        ("conv_2", [0, 3], (3, 2, 6, 5)),
        ("conv_3", [0, 2, 5], (3, 4, 3, 5)),
        ("conv_4", [4], (3, 4, 6, 4)),
        ("conv_3", [0, 1, 2, 3, 4, 5], (3, 4, 1, 5)),
        ("conv_3", [], (3, 4, 6, 5)),
    ],
)
def test_masked_channels_are_removed_and_the_answers_stay(
    checkpoint: Checkpoint, layer: str, channels: list[int], left: tuple[int, ...]
) -> None:
    masked = bake_mask(checkpoint.model, layer, channels)
    smaller = compact(masked)
    assert (
        tuple(smaller.convolution(f"conv_{number}").out_channels for number in range(1, 5)) == left
    )
    assert dead_channels(masked)[layer] == tuple(channels)
    with torch.inference_mode():
        torch.testing.assert_close(smaller(PIXELS), masked(PIXELS), rtol=1e-5, atol=1e-4)


def test_a_bias_below_zero_is_as_dead_as_none_and_one_above_is_not(checkpoint: Checkpoint) -> None:
    masked = bake_mask(checkpoint.model, "conv_3", [0, 2, 5])
    with torch.no_grad():
        masked.convolution("conv_3").bias[[0, 2]] = torch.tensor([-1.0, 1.0])
    assert dead_channels(masked)["conv_3"] == (0, 5)
    with torch.inference_mode():
        torch.testing.assert_close(compact(masked)(PIXELS), masked(PIXELS), rtol=1e-5, atol=1e-4)


def test_a_channel_that_reads_only_dead_ones_is_dead_too(checkpoint: Checkpoint) -> None:
    masked = bake_mask(checkpoint.model, "conv_1", [0])
    with torch.no_grad():
        second = masked.convolution("conv_2")
        second.weight[3, 1:] = 0
        second.bias[3] = 0
    smaller = compact(masked)
    assert smaller.convolution("conv_2").out_channels == 3
    with torch.inference_mode():
        torch.testing.assert_close(smaller(PIXELS), masked(PIXELS), rtol=1e-5, atol=1e-4)


def test_the_network_itself_is_left_as_it_is(checkpoint: Checkpoint) -> None:
    masked = bake_mask(checkpoint.model, "conv_3", [0])
    before = {name: tensor.clone() for name, tensor in masked.state_dict().items()}
    compact(masked)
    assert all(torch.equal(before[name], tensor) for name, tensor in masked.state_dict().items())


def test_what_it_takes_is_counted(checkpoint: Checkpoint) -> None:
    cost = cost_of(checkpoint.model)
    assert cost.parameters == sum(p.numel() for p in checkpoint.model.parameters())
    # conv_1: 52×44 places × 3 channels × 4×4×3; conv_2 … as the sizes of SMALL say
    convolutions = 52 * 44 * 3 * 48 + 24 * 20 * 4 * 27 + 10 * 8 * 6 * 36 + 4 * 3 * 5 * 24
    dense = 5 * 4 * 6 * 9 + 4 * 3 * 5 * 9 + 9 * 7
    assert cost.multiply_adds == convolutions + dense
    assert cost.milliseconds > 0


def test_a_compact_model_is_saved_and_read_like_any_other(tmp_path, checkpoint: Checkpoint) -> None:
    masked = Checkpoint(
        bake_mask(checkpoint.model, "conv_3", [0, 4]),
        checkpoint.provenance.masked("conv_3", "pool_3", (0, 4)),
    )
    smaller = compact_checkpoint(masked)
    assert smaller.provenance.mask is None
    assert smaller.provenance.history[-1] == "channels removed for good: 2 of conv_3"
    save_checkpoint(smaller, tmp_path / "compact.safetensors")
    again = load_checkpoint(tmp_path / "compact.safetensors")
    assert again.model.convolution("conv_3").out_channels == 4
