"""What holds of every ranking."""

from __future__ import annotations

import pytest
import torch

from tests.made.badnet import SIZES, MadeBadNet
from ytf_torch.defences.base import Ranking
from ytf_torch.defences.rankings.anp import AdversarialNeuronPruning
from ytf_torch.defences.rankings.clp import ChannelLipschitz
from ytf_torch.defences.rankings.kernel_norm import KernelNorm
from ytf_torch.defences.rankings.rnp import ReconstructiveNeuronPruning
from ytf_torch.images.image_set import ImageSet
from ytf_torch.progress import untracked

RANKINGS: dict[str, Ranking] = {
    "kernel-norm": KernelNorm(),
    "clp": ChannelLipschitz(),
    "anp": AdversarialNeuronPruning(iterations=6, batch=32),
    "rnp": ReconstructiveNeuronPruning(unlearning_epochs=2, epochs=2, batch=32),
}


@pytest.mark.parametrize("layer", ["conv_3", "conv_4"])
@pytest.mark.parametrize("name", RANKINGS)
def test_every_channel_gets_a_finite_score_and_the_network_stays_as_it_is(
    name: str, layer: str, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    before = {key: value.clone() for key, value in badnet.network.state_dict().items()}
    scores = RANKINGS[name].scores(badnet.network, layer, clean_valid, untracked)
    assert len(scores) == badnet.network.convolution(layer).out_channels
    assert bool(torch.tensor(scores).isfinite().all())
    for key, value in badnet.network.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(parameter.grad is None for parameter in badnet.network.parameters())


@pytest.mark.parametrize("name", RANKINGS)
def test_equal_seeds_give_equal_scores(
    name: str, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    once, again = (
        list(RANKINGS[name].scores(badnet.network, "conv_3", clean_valid, untracked))
        for _ in range(2)
    )
    assert once == again


def test_kernel_norm_is_the_sum_of_absolute_values(
    badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    scores = KernelNorm().scores(badnet.network, "conv_3", clean_valid, untracked)
    kernel = badnet.network.conv_3.weight[4].detach().double()
    assert scores[4] == pytest.approx(float(kernel.abs().sum()))


def test_channel_lipschitzness_puts_the_channel_that_amplifies_most_first(
    badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    import copy

    amplified = copy.deepcopy(badnet.network)
    with torch.no_grad():
        amplified.conv_3.weight[2] *= 50
    scores = ChannelLipschitz().scores(amplified, "conv_3", clean_valid, untracked)
    kernel = amplified.conv_3.weight[2].detach().double().reshape(SIZES.channels[1], -1)
    assert scores[2] == pytest.approx(-float(torch.linalg.svdvals(kernel)[0]))
    assert min(range(len(scores)), key=scores.__getitem__) == 2


@pytest.mark.parametrize("name", ["anp", "rnp"])
def test_learned_masks_lie_within_0_and_1_and_have_learned_something(
    name: str, badnet: MadeBadNet, clean_valid: ImageSet
) -> None:
    scores = RANKINGS[name].scores(badnet.network, "conv_3", clean_valid, untracked)
    assert all(0 <= score <= 1 for score in scores)
    assert any(score != 1 for score in scores)
