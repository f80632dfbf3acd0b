from __future__ import annotations

import pytest
import torch

from tests.made.keras_files import SMALL, random_images
from ytf_torch.defences.detectors.goodnet import GoodNet, goodnet_answer
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.deepid import deepid
from ytf_torch.network.masking import bake_mask

PIXELS = torch.from_numpy(random_images(SMALL, 64))


def test_agreement_gives_the_class_and_disagreement_class_n() -> None:
    badnet, pruned = torch.tensor([3, 5, 0, 6]), torch.tensor([3, 4, 0, 0])
    assert goodnet_answer(badnet, pruned, backdoored=7).tolist() == [3, 7, 0, 7]


@pytest.fixture
def goodnet(checkpoint: Checkpoint) -> GoodNet:
    return GoodNet(checkpoint.model, bake_mask(checkpoint.model, "conv_3", [0, 1, 2]))


def test_the_module_has_n_plus_one_outputs_whose_argmax_is_the_answer(goodnet: GoodNet) -> None:
    with torch.inference_mode():
        scores = goodnet(PIXELS)
        b, repaired = goodnet.badnet(PIXELS).argmax(1), goodnet.pruned(PIXELS).argmax(1)
    assert scores.shape == (64, 8)
    assert goodnet.backdoored == 7
    assert 0 < int((b != repaired).sum()) < 64
    assert torch.equal(scores.argmax(1), goodnet_answer(b, repaired, 7))


def test_a_softmax_over_the_scores_is_a_distribution(goodnet: GoodNet) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(goodnet(PIXELS).softmax(1).sum(1), torch.ones(64))


def test_networks_of_different_sizes_are_refused(checkpoint: Checkpoint) -> None:
    from dataclasses import replace

    other = deepid(replace(SMALL, classes=8))
    with pytest.raises(ValueError, match="same classes"):
        GoodNet(checkpoint.model, other)
