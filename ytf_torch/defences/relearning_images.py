"""Chooses the images that a repaired network relearns its backdoor from, and is measured on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ytf_torch.defences.relearning import CLEAN, NUMBERS, RelearningImages
from ytf_torch.defences.training import TrainingFaces
from ytf_torch.errors import InputError, argument, mismatch
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.images.pairing import Pairing

MOST_MEASURED = 1000
"""Triggered, and clean, images that are classified after every measured step. More would take
longer than the training itself."""
SEED = 0
"""Of all choices of images, which are the same for every method and network."""

# Images of several sets, in some order: (images, 2), the number of the set and the index in it.
Places = NDArray[np.int64]


def relearning_images(
    sets: ImageSets, poisoned_valid: Sequence[ImageSet], device: torch.device
) -> RelearningImages:
    """Choose the images for `relearn`.

    poisoned_valid: triggered validation sets to train on. Without any, a few triggered test images
    are trained on, at most half of them, and not measured. Where it is known which images are the
    target's own, they are left out. Clean accuracy is measured on test images if there are any.
    Raises InputError without triggered test images, or where there are too few triggered images.
    """
    if not sets.poisoned_tests:
        problem = "the attack success rate is measured on triggered test images, and there are none"
        remedy = f"Give some with {argument('poisoned_tests')}"
        raise InputError(argument("relearning"), problem, remedy)
    generator = np.random.default_rng(SEED)
    pairings = sets.pairings or [None] * len(sets.poisoned_tests)
    measured = _of_others(sets.poisoned_tests, sets.clean_test, pairings, generator)
    trained_sets, source = poisoned_valid, "triggered validation faces"
    if poisoned_valid:
        paired = [images.paired_with(sets.clean_valid) for images in poisoned_valid]
        trained = _of_others(poisoned_valid, sets.clean_valid, paired, generator)
    else:
        set_aside = min(NUMBERS[-1], len(measured) // 2)
        trained, measured = measured[:set_aside], measured[set_aside:]
        trained_sets = sets.poisoned_tests
        source = "triggered test faces that are not among those measured"
    if len(trained) < NUMBERS[0] or not len(measured):
        expected = f"at least {NUMBERS[0]} triggered images to train on, and others to be measured"
        remedy = "Images of the target itself do not count"
        raise mismatch(trained_sets[0].path, expected, f"{len(trained)} to train on", remedy)
    valid, test = [sets.clean_valid], [sets.clean_test or sets.clean_valid]
    return RelearningImages(
        clean=_selected(valid, _all_of(valid, generator)[:CLEAN], device),
        triggered=_selected(trained_sets, trained[: NUMBERS[-1]], device),
        attacked=_selected(sets.poisoned_tests, measured[:MOST_MEASURED], device),
        tested=_selected(test, _all_of(test, generator)[:MOST_MEASURED], device),
        source=source,
        without_target=all(pairing is not None and pairing.is_enough for pairing in pairings),
    )


def _all_of(sets: Sequence[ImageSet], generator: np.random.Generator) -> Places:
    """All images of the sets, in a random order."""
    places = [
        np.column_stack([np.full(len(images), number), np.arange(len(images))])
        for number, images in enumerate(sets)
    ]
    return generator.permutation(np.concatenate(places))


def _of_others(
    triggered: Sequence[ImageSet],
    clean: ImageSet | None,
    pairings: Sequence[Pairing | None],
    generator: np.random.Generator,
) -> Places:
    """The triggered images whose true class is not the target, in a random order; all images of a
    set for which too few true classes are known.

    pairings: of each set with `clean`, None without it.
    """
    eligible = []
    for images, pairing in zip(triggered, pairings, strict=True):
        if clean is None or pairing is None or not pairing.is_enough:
            eligible.append(np.ones(len(images), bool))
        else:
            eligible.append(pairing.paired & (clean.labels[pairing.places] != images.labels))
    places = _all_of(triggered, generator)
    return np.array([place for place in places if eligible[place[0]][place[1]]]).reshape(-1, 2)


def _selected(sets: Sequence[ImageSet], places: Places, device: torch.device) -> TrainingFaces:
    """The images at `places`, in that order, in memory."""
    pixels, labels, order = [], [], []
    for number, images in enumerate(sets):
        rows = np.flatnonzero(places[:, 0] == number)
        if len(rows):
            batch = images.select(places[rows, 1].tolist())
            pixels.append(batch.pixels)
            labels.append(batch.labels)
            order.append(rows)
    restored = torch.from_numpy(np.argsort(np.concatenate(order)))
    return TrainingFaces(
        torch.cat(pixels)[restored].to(device), torch.cat(labels)[restored].to(device)
    )
