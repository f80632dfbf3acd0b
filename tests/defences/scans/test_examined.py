"""Scans of many classes: a short look at all, and a full examination of a few."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.made.badnet import SIZES
from tests.made.keras_files import write_faces
from ytf_torch.defences.base import Scan
from ytf_torch.defences.scans.deviation import deviations
from ytf_torch.defences.scans.examined import Examined, chosen_by, number_examined
from ytf_torch.defences.scans.mm_bd import MaximumMargin
from ytf_torch.defences.scans.neural_cleanse import NeuralCleanse
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.opening import open_images
from ytf_torch.network.deepid import deepid
from ytf_torch.network.module import Network
from ytf_torch.progress import untracked

MANY = replace(SIZES, classes=60)
EASY = 37
SCANS: dict[str, Scan] = {
    "mm-bd": MaximumMargin(starts=4, steps=30),
    "neural-cleanse": NeuralCleanse(steps=40, batch=8, classes_at_once=16),
}


@pytest.fixture
def network() -> Network:
    """Random weights, but for a class that is much easier to reach than all others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = deepid(MANY, pixel_scale=1 / 255).fresh().eval()
    with torch.no_grad():
        weights = made.weights_of("output")
        weights["weight"][EASY] *= 6
        weights["bias"][EASY] += 0.2
    return made


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(256, (32, 3, 27, 25), generator=generator, dtype=torch.uint8)
    labels = torch.arange(32) % MANY.classes
    path = write_faces(tmp_path / "valid.h5", pixels.numpy(), labels.numpy())
    return open_images(path, MANY.input_shape, MANY.classes)


@pytest.mark.parametrize("name", SCANS)
def test_of_many_classes_a_few_are_examined_and_the_easy_one_stands_out(
    name: str, network: Network, images: ImageSet
) -> None:
    found = SCANS[name].suspicions(network, images, untracked)
    assert found.examined is not None
    assert len(found.examined) == number_examined(60) == 32
    assert len(found.anomaly) == 60
    assert max(range(60), key=found.anomaly.__getitem__) == EASY
    others = set(range(60)) - set(found.examined)
    assert {found.anomaly[label] for label in others} == {0.0}
    assert set(found.triggers) in (set(), set(found.examined))


def test_few_classes_are_all_examined_and_the_price_does_not_grow_with_many() -> None:
    assert [number_examined(classes) for classes in (2, 40, 43, 48, 49, 1283)] == [
        *(2, 40, 43, 48),
        *(32, 32),
    ]
    cleanse, margins = NeuralCleanse(), MaximumMargin()
    assert cleanse.images_shown(40) == 40 * 300 * 16
    assert cleanse.images_shown(1283) == 32 * 300 * 16 + 1283 * 120
    assert margins.images_shown(40) == 40 * 300 * 30
    assert margins.images_shown(1283) == 32 * 300 * 30 + 1283 * 80


def test_suspects_have_the_highest_scores_and_the_sample_is_of_all_others() -> None:
    look = [float(label % 100) for label in range(1000)]
    chosen = chosen_by(look, seed=0)
    assert set(chosen.suspects) == {label for label in range(1000) if label % 100 >= 99} | {
        *(98, 198, 298, 398, 498, 598)
    }
    assert len(set(chosen.sample)) == 16
    assert not set(chosen.sample) & set(chosen.suspects)
    assert chosen == chosen_by(look, seed=0)
    assert chosen.sample != chosen_by(look, seed=1).sample
    assert Examined((5, 1), (3,)).labels == (1, 3, 5)


def test_deviations_may_be_taken_from_what_is_usual() -> None:
    found = deviations([1.0, 2.0, 3.0, 100.0], usual=[1.0, 2.0, 3.0])
    assert found == pytest.approx([-1 / 1.4826, 0, 1 / 1.4826, 98 / 1.4826])
