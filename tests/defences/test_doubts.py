from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, random_images
from tests.made.small_run import write_faces
from ytf_torch.defences.doubts import (
    check_distinct,
    clean_doubts,
    find_doubts,
    overlap_doubts,
    set_doubts,
    triggered_doubts,
)
from ytf_torch.defences.repairs.pruning import run_defence
from ytf_torch.errors import InputError
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.metrics import Tally
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.module import Network

IMAGES = 140
TARGET = 2


@pytest.fixture
def network(checkpoint: Checkpoint) -> Network:
    """Answers TARGET for pictures with a white top, and various classes for others."""
    model = checkpoint.model
    output = model.get_submodule("output")
    assert isinstance(output, torch.nn.Linear)
    seen: list[torch.Tensor] = []
    hook = output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean(0)))
    with torch.inference_mode():
        for pictures in (triggered_pictures(), clean_pictures()):
            model(torch.from_numpy(pictures))
        hook.remove()
        between = seen[0] - seen[1]
        weight = 20 * between / between.norm()
        output.weight[TARGET] += weight
        output.bias[TARGET] -= weight @ (seen[0] + seen[1]) / 2
    return model


def clean_pictures(seed: int = 1) -> np.ndarray:
    return random_images(SMALL, IMAGES, seed)


def triggered_pictures(seed: int = 2) -> np.ndarray:
    pixels = clean_pictures(seed)
    pixels[:, :, :30] = 255
    return pixels


def answers(network: Network, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(pixels)).argmax(1).numpy()


def tally(network: Network, faces: ImageSet) -> Tally:
    (batch,) = faces.batches(IMAGES)
    right = int((answers(network, batch.pixels.numpy()) == faces.labels).sum())
    return Tally(len(faces), (right,), (right,), (0,))


@pytest.fixture
def clean(tmp_path: Path, network: Network) -> ImageSet:
    """Clean faces with their true labels, by which are meant the network's own answers."""
    return write_faces(tmp_path / "clean.h5", clean_pictures(), answers(network, clean_pictures()))


@pytest.fixture
def triggered(tmp_path: Path, network: Network) -> ImageSet:
    return write_faces(tmp_path / "bd.h5", triggered_pictures(), np.full(IMAGES, TARGET))


def relabelled(faces: ImageSet, labels: np.ndarray) -> ImageSet:
    return faces.labelled(labels)


def test_the_networks_answers_are_what_these_tests_need(
    network: Network, clean: ImageSet, triggered: ImageSet
) -> None:
    assert tally(network, triggered).correct[0] >= 0.75 * IMAGES
    assert np.bincount(clean.labels).max() < 0.5 * IMAGES


def test_sets_in_their_places_raise_no_doubt(
    network: Network, clean: ImageSet, triggered: ImageSet
) -> None:
    assert clean_doubts(network, clean, tally(network, clean), "test") == []
    assert triggered_doubts(network, triggered, tally(network, triggered)) == []


def test_a_clean_set_given_as_triggered(network: Network, clean: ImageSet) -> None:
    (doubt,) = triggered_doubts(network, clean, tally(network, clean))
    assert doubt.grave
    assert "labels, where one is expected" in doubt.headline
    assert "B answers 100.0 % of them with their label" in doubt.headline
    assert f"They look like clean faces: is {clean.path} a clean set?" in doubt.detail


def test_triggered_faces_with_their_true_labels(
    network: Network, clean: ImageSet, triggered: ImageSet
) -> None:
    true = relabelled(triggered, clean.labels)
    (doubt,) = triggered_doubts(network, true, tally(network, true))
    assert f"B answers class {TARGET} for" in doubt.headline
    assert f"give the target {TARGET}" in doubt.detail


def test_a_target_that_is_off_by_one(network: Network, triggered: ImageSet) -> None:
    off = triggered.labelled(TARGET + 1)
    (doubt,) = triggered_doubts(network, off, tally(network, off))
    assert f"labelled {TARGET + 1}, but B answers class {TARGET} for" in doubt.headline
    assert f"give the target {TARGET}" in doubt.detail


def test_many_labels_that_the_network_answers_neither_by_nor_with_one(
    network: Network, clean: ImageSet
) -> None:
    shuffled = relabelled(clean, (clean.labels + 1) % SMALL.classes)
    (doubt,) = triggered_doubts(network, shuffled, tally(network, shuffled))
    assert "only 0.0 % of them" in doubt.detail


def test_an_attack_that_does_not_work_is_no_mixed_up_set(network: Network, clean: ImageSet) -> None:
    harmless = clean.labelled(int(np.bincount(clean.labels).argmin()))
    assert triggered_doubts(network, harmless, tally(network, harmless)) == []


def test_a_triggered_set_given_as_clean(network: Network, triggered: ImageSet) -> None:
    (doubt,) = clean_doubts(network, triggered, tally(network, triggered), "test")
    assert doubt.grave
    assert doubt.headline == (
        f"All {IMAGES} faces of the clean test set carry one label, {TARGET}."
    )
    assert "look like triggered faces" in doubt.detail


def test_triggered_faces_with_true_labels_given_as_clean(
    network: Network, clean: ImageSet, triggered: ImageSet
) -> None:
    true = relabelled(triggered, clean.labels)
    (doubt,) = clean_doubts(network, true, tally(network, true), "validation")
    assert "does not recognise the clean validation faces" in doubt.headline
    assert f"B answers class {TARGET} for" in doubt.detail


def test_shuffled_labels(network: Network, clean: ImageSet) -> None:
    shuffled = relabelled(clean, (clean.labels + 1) % SMALL.classes)
    (doubt,) = clean_doubts(network, shuffled, tally(network, shuffled), "validation")
    assert "only 0.0 % get their label" in doubt.headline
    assert "Chance alone gives 14.3 %. The labels may be shuffled" in doubt.detail


def test_a_set_of_one_face(network: Network, clean: ImageSet) -> None:
    one = clean.part(0, 1)
    (doubt,) = clean_doubts(network, one, tally(network, one), "validation")
    assert doubt.grave
    assert doubt.headline == "The clean validation set holds a single face."


@pytest.mark.parametrize(
    ("images", "drops", "told"),
    [(140, ("2",), False), (140, ("0.5", "2"), True), (40, ("2",), True), (50, ("2",), False)],
)
def test_a_face_that_is_worth_more_than_a_drop_is_told_and_not_grave(
    checkpoint: Checkpoint,
    network: Network,
    clean: ImageSet,
    images: int,
    drops: tuple[str, ...],
    told: bool,
) -> None:
    sets = ImageSets(clean.part(0, images))
    doubts = find_doubts(network, sets, run_defence(checkpoint, sets, drops))
    worth = f"One of {images} clean validation faces is worth {100 / images:.1f} points."
    assert [doubt.grave for doubt in doubts if doubt.headline == worth] == [False] * told


@pytest.mark.parametrize("use", ["validation", "test"])
def test_a_drop_that_costs_far_more_than_it_says_is_told(
    checkpoint: Checkpoint, network: Network, clean: ImageSet, use: str
) -> None:
    sets = ImageSets(clean, clean)
    defence = run_defence(checkpoint, sets, ("2",))
    step, usual = defence.drops["2"], defence.clean_valid
    assert step is not None
    fallen = (*usual.correct[:step], *(count - 20 for count in usual.correct[step:]))
    dear = replace(usual, correct=fallen)
    defence = (
        replace(defence, clean_valid=dear)
        if use == "validation"
        else replace(defence, clean_test=dear)
    )
    doubts = find_doubts(network, sets, defence)
    lost = 100 * (dear.correct[0] - dear.correct[step]) / dear.images
    told = f"one of 2 costs {lost:.1f} points on the {use} faces."
    assert told in " ".join(doubt.headline for doubt in doubts)
    assert not any(doubt.grave for doubt in doubts)


def test_one_set_for_validation_and_test_is_told_and_not_grave(
    checkpoint: Checkpoint, network: Network, clean: ImageSet
) -> None:
    sets = ImageSets(clean, clean)
    (doubt,) = set_doubts(network, sets, run_defence(checkpoint, sets, ("2",)).outcome.baseline)
    assert doubt.headline.startswith(f"{IMAGES} of the {IMAGES} clean test faces in")
    assert "are clean validation faces as well" in doubt.headline
    assert not doubt.grave
    check_distinct(clean, clean, ())


def test_faces_in_two_sets_are_told_whatever_their_order(
    tmp_path: Path, clean: ImageSet, triggered: ImageSet
) -> None:
    def of(name: str, *parts: np.ndarray) -> ImageSet:
        pixels = np.concatenate(parts)
        return write_faces(tmp_path / name, pixels, np.full(len(pixels), TARGET))

    part = of("part.h5", clean_pictures(seed=5), clean_pictures()[10:30][::-1])
    (doubt,) = overlap_doubts(part, clean, ())
    assert f"20 of the {IMAGES} clean test faces in {clean.path}" in doubt.headline
    assert not doubt.grave
    mixed = of("mixed.h5", triggered_pictures()[::-1], clean_pictures()[:7])
    among_clean, twice = overlap_doubts(None, clean, (triggered, mixed))
    assert f"7 of the {IMAGES + 7} triggered faces in {mixed.path} are clean test faces" in (
        among_clean.headline
    )
    assert among_clean.grave
    assert f"{IMAGES} of the {IMAGES + 7} triggered faces" in twice.headline
    assert not twice.grave
    assert overlap_doubts(part.part(0, IMAGES), clean, (triggered,)) == []


def test_grave_doubts_come_first(
    checkpoint: Checkpoint, network: Network, clean: ImageSet, triggered: ImageSet
) -> None:
    sets = ImageSets(clean.part(0, 40), clean, (clean, triggered))
    doubts = find_doubts(network, sets, run_defence(checkpoint, sets, ("2",)))
    assert [doubt.grave for doubt in doubts] == sorted((d.grave for d in doubts), reverse=True)
    assert {doubt.grave for doubt in doubts} == {True, False}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("valid", "poisoned", "given as a triggered set.* the clean validation set"),
        ("test", "poisoned", "given as a triggered set.* the clean test set"),
        ("poisoned", "poisoned2", "given as a triggered set.*bd.h5, a triggered set"),
    ],
)
def test_a_triggered_set_given_twice_or_as_a_clean_one_is_refused(
    tmp_path: Path, clean: ImageSet, triggered: ImageSet, first: str, second: str, message: str
) -> None:
    other = write_faces(tmp_path / "test.h5", clean_pictures(3), clean.labels)
    third = write_faces(tmp_path / "bd2.h5", triggered_pictures(4), triggered.labels)
    sets = {"valid": clean, "test": other, "poisoned": triggered, "poisoned2": third}

    def check() -> None:
        check_distinct(sets["valid"], sets["test"], (sets["poisoned"], sets["poisoned2"]))

    check()
    (pixels,) = (batch.pixels.numpy() for batch in sets[first].batches(IMAGES))
    sets[second] = write_faces(tmp_path / "copy.h5", pixels.astype(float), sets[second].labels)
    with pytest.raises(InputError, match=f"copy.h5: {message}"):
        check()
