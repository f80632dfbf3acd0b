"""No image that a network relearns its backdoor from is among those that it is measured on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.made.badnet import TARGET, MadeBadNet, faces, with_trigger
from ytf_torch.defences.relearning import CLEAN, RelearningImages
from ytf_torch.defences.relearning_images import MOST_MEASURED, relearning_images
from ytf_torch.errors import InputError
from ytf_torch.images.arrays import ImagesInMemory, images_of
from ytf_torch.images.image_set import ImageSets

CPU = torch.device("cpu")


def triggered(clean: torch.Tensor, target: int = TARGET) -> ImagesInMemory:
    return images_of(with_trigger(clean), [target] * len(clean))


def rows(pixels: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in pixels}


@pytest.fixture(scope="module")
def sets(badnet: MadeBadNet) -> ImageSets:
    valid, people = faces(120, seed=5)
    return ImageSets(
        images_of(valid, people),
        images_of(badnet.clean, badnet.people),
        (triggered(badnet.clean),),
    )


def check_apart(found: RelearningImages) -> None:
    assert not rows(found.triggered.pixels) & rows(found.attacked.pixels)
    assert set(found.triggered.labels.tolist()) == {TARGET}
    assert set(found.attacked.labels.tolist()) == {TARGET}


def test_triggered_validation_images_are_trained_on_and_all_test_images_measured(
    badnet: MadeBadNet, sets: ImageSets
) -> None:
    valid, people = faces(120, seed=5)
    found = relearning_images(sets, (triggered(valid),), CPU)
    check_apart(found)
    assert found.source == "triggered validation faces"
    assert found.without_target
    others = badnet.triggered[badnet.people != TARGET]
    assert rows(found.attacked.pixels) == rows(others)
    assert len(found.triggered) == 50
    assert rows(found.triggered.pixels) <= rows(with_trigger(valid[people != TARGET]))
    assert rows(found.clean.pixels) == rows(valid)
    assert rows(found.tested.pixels) == rows(badnet.clean)


def test_without_them_some_test_images_are_set_aside(badnet: MadeBadNet, sets: ImageSets) -> None:
    found = relearning_images(sets, (), CPU)
    check_apart(found)
    assert found.source == "triggered test faces that are not among those measured"
    others = badnet.triggered[badnet.people != TARGET]
    assert rows(found.triggered.pixels) | rows(found.attacked.pixels) == rows(others)
    assert (len(found.triggered), len(found.attacked)) == (50, len(others) - 50)


def test_of_few_test_images_at_most_half_are_set_aside(badnet: MadeBadNet) -> None:
    few = badnet.people != TARGET
    clean, people = badnet.clean[few][:24], badnet.people[few][:24]
    known = images_of(clean, people)
    found = relearning_images(ImageSets(known, known, (triggered(clean),)), (), CPU)
    assert (len(found.triggered), len(found.attacked)) == (12, 12)


def test_labels_stay_with_their_images_where_there_are_several_sets(badnet: MadeBadNet) -> None:
    first, second = badnet.clean[:40], badnet.clean[40:100]
    clean = images_of(badnet.clean, badnet.people)
    both = (triggered(first, 1), triggered(second, 2))
    found = relearning_images(ImageSets(clean, clean, both), (), CPU)
    for part in (found.triggered, found.attacked):
        for pixels, label in zip(part.pixels, part.labels.tolist(), strict=True):
            of_first = pixels.numpy().tobytes() in rows(with_trigger(first))
            assert label == (1 if of_first else 2)
    assert set(found.triggered.labels.tolist()) == {1, 2}


def test_without_clean_test_images_nobody_knows_the_targets_own(sets: ImageSets) -> None:
    found = relearning_images(ImageSets(sets.clean_valid, None, sets.poisoned_tests), (), CPU)
    assert not found.without_target
    assert len(found.triggered) + len(found.attacked) == 160
    assert rows(found.tested.pixels) == rows(found.clean.pixels)


def test_of_many_images_so_many_are_taken_and_always_the_same() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2500, 1, 4, 4), dtype=np.uint8)
    clean = images_of(pixels, np.arange(2500) % 5)
    attacked = images_of(pixels // 2, [TARGET] * 2500)
    once, again = (relearning_images(ImageSets(clean, None, (attacked,)), (), CPU) for _ in "12")
    sizes = [len(part) for part in (once.clean, once.triggered, once.attacked, once.tested)]
    assert sizes == [CLEAN, 50, MOST_MEASURED, MOST_MEASURED]
    assert torch.equal(once.triggered.pixels, again.triggered.pixels)
    assert torch.equal(once.attacked.pixels, again.attacked.pixels)


def test_what_is_missing_is_said(badnet: MadeBadNet, sets: ImageSets) -> None:
    with pytest.raises(InputError, match="measured on triggered test images, and there are none"):
        relearning_images(ImageSets(sets.clean_valid, sets.clean_test), (), CPU)
    few = ImageSets(sets.clean_valid, sets.clean_test, (triggered(badnet.clean[:6]),))
    with pytest.raises(InputError, match=r"expected at least 5 triggered images .* found \d to"):
        relearning_images(few, (), CPU)
