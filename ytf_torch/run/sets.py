"""The image sets of a run: opened, checked against the network, and no set given twice.

A set is a file, a folder, or one in memory, which is called by the argument it was given as.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ytf_torch.defences.doubts import check_distinct, check_target
from ytf_torch.disk.reading import checked_source, is_numpy_archive
from ytf_torch.errors import mismatch
from ytf_torch.images.arrays import IN_MEMORY, ImagesInMemory
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.images.labels import BACKDOORED_CLASS
from ytf_torch.images.opening import open_images, open_unlabelled
from ytf_torch.network.module import Network

Images = Path | ImageSet


def open_sets(
    network: Network,
    clean_valid: Images,
    clean_test: Images | None,
    poisoned_tests: Sequence[Images],
    target: int | None = None,
) -> ImageSets:
    """The face sets of a run.

    target: the attacker's, for triggered faces that carry their true labels.
    Raises InputError where a set does not fit the network, or holds the same faces as another.
    """
    test, triggered = open_measured(network, clean_test, poisoned_tests, target)
    valid = images_for(network, clean_valid, "clean_valid")
    check_distinct(valid, test, triggered)
    sets = ImageSets(valid, test, triggered)
    _check_class_names(sets.every)
    return sets


def open_measured(
    network: Network,
    clean_test: Images | None,
    poisoned_tests: Sequence[Images],
    target: int | None = None,
) -> tuple[ImageSet | None, tuple[ImageSet, ...]]:
    """The face sets that figures are measured on, the clean test set and the triggered ones.

    target: as for `open_sets`. Raises InputError where a set does not fit the network.
    """
    check_target(target, network.classes)
    triggered = tuple(
        _triggered(network, images, f"poisoned_tests[{place}]", target)
        for place, images in enumerate(poisoned_tests)
    )
    test = None if clean_test is None else images_for(network, clean_test, "clean_test")
    return test, triggered


def _check_class_names(sets: Sequence[ImageSet]) -> None:
    """Raises InputError where two sets name the classes differently: one label would be two."""
    named = [(images.path, images.class_names) for images in sets if images.class_names]
    for path, names in named[1:]:
        first, expected = named[0]
        if names != expected:
            ours, theirs = (", ".join(classes or ())[:80] for classes in (expected, names))
            raise mismatch(path, f"the classes of {first}: {ours}", theirs)


def _triggered(network: Network, images: Images, name: str, target: int | None) -> ImageSet:
    """A triggered set. target: of the attack, where the set does not carry it as its label; then
    the pictures of a folder need no folder a class, and an .npz no labels."""
    if target is None:
        return images_for(network, images, name)
    if isinstance(images, Path) and (checked_source(images).is_dir() or is_numpy_archive(images)):
        return open_unlabelled(images, network.input_shape).labelled(target)
    return images_for(network, images, name).labelled(target)


def images_for(network: Network, faces: Images, name: str) -> ImageSet:
    """An image set for a network. name: of the argument that it was given as.

    Raises InputError where its images or labels do not fit the network.
    """
    if isinstance(faces, Path):
        return open_images(faces, network.input_shape, network.classes)
    if isinstance(faces, ImagesInMemory) and faces.path == IN_MEMORY:
        faces = faces.called(Path(f"{name}, {IN_MEMORY}"))
    if faces.input_shape != network.input_shape:
        expected, found = (
            f"images of {'×'.join(map(str, shape))}, channels first"
            for shape in (network.input_shape, faces.input_shape)
        )
        raise mismatch(faces.path, expected, found)
    unknown = (faces.labels < 0) | (faces.labels >= network.classes)
    if unknown.any():
        at = int(np.argmax(unknown))
        label = int(faces.labels[at])
        raise mismatch(
            f"{faces.path}, labels",
            f"classes of 0…{network.classes - 1}",
            f"{label} at {at}",
            BACKDOORED_CLASS if label == network.classes else "",
        )
    return faces
