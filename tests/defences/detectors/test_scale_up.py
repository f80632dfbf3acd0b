"""What SCALE-UP counts: on networks whose class can be read off the pixels."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.made.classifiers import classifier, graph_of, pictures
from ytf_torch.defences.detectors.scale_up import ScaleUp
from ytf_torch.images.arrays import ImagesInMemory, images_of
from ytf_torch.network.module import Network


class BrightnessClasses(nn.Module):
    """Class 0 for a first value below 100, class 1 for one of 100–254, class 2 for 255."""

    device, dtype, classes = torch.device("cpu"), torch.float32, 3

    def forward(self, pixels: Tensor) -> Tensor:
        value = pixels[:, 0, 0, 0]
        label = (value >= 100).long() + (value >= 255)
        return nn.functional.one_hot(label, 3).float()


NETWORK = cast(Network, BrightnessClasses())


def images(*values: float) -> Tensor:
    """One image of 1 × 2 × 2 for each first value; the other values are 7."""
    pixels = torch.full((len(values), 1, 2, 2), 7.0)
    pixels[:, 0, 0, 0] = torch.tensor(values)
    return pixels


def clean(*values: float) -> ImagesInMemory:
    return images_of(images(*values).numpy().astype(np.uint8), [0] * len(values))


@pytest.mark.parametrize(
    ("value", "consistency"),
    # Times 3, 5, 7, 9 and 11, and at most 255.
    [(5, 1.0), (12, 0.6), (30, 0.2), (50, 0.0), (120, 0.0), (255, 1.0)],
)
def test_consistency_is_the_share_of_factors_that_keep_the_class(
    value: float, consistency: float
) -> None:
    """All clean images have a consistency of 1: a score is the difference from it."""
    detector = ScaleUp(NETWORK, clean(1, 2, 3, 255, 255))
    (score,) = detector.scores(NETWORK, None, images(value)).tolist()
    assert score == pytest.approx(consistency - 1)


def test_an_image_is_compared_with_the_clean_ones_of_its_class() -> None:
    # Class 0: consistency 1 and 0.6, so 0.8 ± 0.2828. Class 2: always 1.
    detector = ScaleUp(NETWORK, clean(5, 12, 255, 255))
    deviation = math.sqrt(2 * 0.2**2)
    # Class 2 has no deviation of its own: that of all, 1, 0.6, 1 and 1.
    overall = 0.2
    # Class 1 has no clean image: mean and deviation of all.
    found = detector.scores(NETWORK, None, images(5, 30, 255, 120)).tolist()
    expected = [0.2 / deviation, -0.6 / deviation, 0.0, -0.9 / overall]
    assert found == pytest.approx(expected)


def test_pixels_are_multiplied_before_the_preprocessing() -> None:
    """A network that reads 0–1 counts as one that reads 0–255 with weights 255 times smaller."""
    detectors = []
    for scale in (1.0, 1 / 255):
        layers = [("flatten", "Flatten", {}), ("scores", "Dense", {"units": 3})]
        network = Network(graph_of((4, 4, 1), layers), scale).eval()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            kernel = torch.randn(network.scores.weight.shape, generator=generator)
            network.scores.weight.copy_(kernel / scale)
            network.scores.bias.copy_(torch.tensor([0.0, 300.0, 100.0]))
        valid = images_of(pictures(network, 40), network(pictures(network, 40)).argmax(1))
        detectors.append((ScaleUp(network, valid), network))
    pixels = pictures(detectors[0][1])
    first, second = (detector.scores(network, None, pixels) for detector, network in detectors)
    torch.testing.assert_close(first, second)
    assert len(set(first.tolist())) > 2


def test_copies_without_finite_logits_count_as_another_class() -> None:
    class Overflowing(BrightnessClasses):
        def forward(self, pixels: Tensor) -> Tensor:
            logits = super().forward(pixels)
            return logits.masked_fill(pixels[:, :1, 0, 0] > 50, torch.nan)

    network = cast(Network, Overflowing())
    detector = ScaleUp(network, clean(1, 1, 1))
    found = detector.scores(network, None, images(1, 9, 60))
    assert found[:2].tolist() == pytest.approx([0.0, -0.6])
    assert found[2].isnan()


def test_the_score_of_an_image_does_not_depend_on_the_others() -> None:
    network = classifier("grey digits")
    pixels = pictures(network, 40)
    valid = images_of(pixels, network(pixels).argmax(1))
    detector = ScaleUp(network, valid)
    together = detector.scores(network, None, pixels)
    split = torch.cat([detector.scores(network, None, part) for part in pixels.split(7)])
    assert torch.equal(together, split)
