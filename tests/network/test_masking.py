from __future__ import annotations

import pytest
import torch

from tests.made.keras_files import SMALL, random_images
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.masking import ChannelMask, bake_mask

PIXELS = torch.from_numpy(random_images(SMALL, 4))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("layer", ["conv_1", "conv_2", "conv_3", "conv_4"])
def test_masked_channels_are_zero_and_all_others_untouched(
    checkpoint: Checkpoint, layer: str, mode: type, memory_format: torch.memory_format
) -> None:
    convolution = checkpoint.model.convolution(layer)
    inputs = torch.rand(2, convolution.in_channels, 9, 8).to(memory_format=memory_format)
    with mode():
        plain = convolution(inputs)
        with ChannelMask(convolution, [2, 0]):
            masked = convolution(inputs)
    assert not masked[:, [0, 2]].any()
    assert torch.equal(masked[:, 1], plain[:, 1])
    assert masked.stride() == plain.stride()


def test_a_masked_channel_is_zero_even_where_it_was_not_finite(checkpoint: Checkpoint) -> None:
    convolution = checkpoint.model.convolution("conv_3")
    with torch.no_grad():
        convolution.bias[1] = torch.inf
    with torch.inference_mode(), ChannelMask(convolution, [1]):
        assert not convolution(torch.rand(1, convolution.in_channels, 5, 5))[:, 1].any()


def test_the_hook_is_gone_after_the_block_and_after_an_exception(checkpoint: Checkpoint) -> None:
    convolution = checkpoint.model.convolution("conv_3")
    with torch.inference_mode():
        before = checkpoint.model(PIXELS)
        with pytest.raises(KeyError), ChannelMask(convolution, range(6)):
            raise KeyError
        assert not convolution._forward_hooks
        assert torch.equal(checkpoint.model(PIXELS), before)


def test_hooks_of_others_survive(checkpoint: Checkpoint) -> None:
    calls = []
    convolution = checkpoint.model.convolution("conv_3")
    handle = convolution.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        with ChannelMask(convolution, [0]):
            checkpoint.model(PIXELS)
        checkpoint.model(PIXELS)
    handle.remove()
    assert len(calls) == 2


def test_masks_can_be_nested(checkpoint: Checkpoint) -> None:
    with torch.inference_mode():
        with ChannelMask(checkpoint.model.convolution("conv_3"), [0, 5]):
            both = checkpoint.model(PIXELS)
        with (
            ChannelMask(checkpoint.model.convolution("conv_3"), [0]),
            ChannelMask(checkpoint.model.convolution("conv_3"), [5]),
        ):
            assert torch.equal(checkpoint.model(PIXELS), both)


@pytest.mark.parametrize("channels", [[6], [-1], [2, 2]])
def test_channels_must_exist_and_be_named_once(checkpoint: Checkpoint, channels: list[int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ChannelMask(checkpoint.model.convolution("conv_3"), channels)
    with pytest.raises(ValueError, match="expected"):
        bake_mask(checkpoint.model, "conv_3", channels)


def test_one_mask_cannot_be_entered_twice(checkpoint: Checkpoint) -> None:
    mask = ChannelMask(checkpoint.model.convolution("conv_3"), [0])
    with mask, pytest.raises(RuntimeError, match="in use"):
        mask.__enter__()


def test_baking_leaves_the_model_and_all_other_weights_alone(checkpoint: Checkpoint) -> None:
    before = {name: tensor.clone() for name, tensor in checkpoint.model.state_dict().items()}
    baked = bake_mask(checkpoint.model, "conv_3", [1, 4]).state_dict()
    kept = [0, 2, 3, 5]
    for name, tensor in checkpoint.model.state_dict().items():
        assert torch.equal(tensor, before[name])
        rows = kept if name.startswith("conv_3") else slice(None)
        assert torch.equal(baked[name][rows], tensor[rows])
