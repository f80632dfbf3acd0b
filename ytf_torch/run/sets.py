"""Open the image sets of a run, check them against the network, and reject duplicates.

A set is a file, a folder, or an object in memory, which messages call by its argument's name.
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
from ytf_torch.images.read_once import read_once
from ytf_torch.network.module import Network

Images = Path | ImageSet


def open_sets(
    network: Network,
    clean_valid: Images,
    clean_test: Images | None,
    poisoned_tests: Sequence[Images],
    target: int | None = None,
) -> ImageSets:
    """Open the image sets of a run. Comparing their images with each other reads none again.

    target: the attacker's target class, for triggered images that carry their true labels.
    Raises InputError where a set does not fit the network, or holds the same images as another.
    """
    test, triggered = open_measured(network, clean_test, poisoned_tests, target)
    valid = images_for(network, clean_valid, "clean_valid")
    check_distinct(valid, test, triggered)
    sets = read_once(ImageSets(valid, test, triggered))
    _check_class_names(sets.every)
    return sets


def open_measured(
    network: Network,
    clean_test: Images | None,
    poisoned_tests: Sequence[Images],
    target: int | None = None,
) -> tuple[ImageSet | None, tuple[ImageSet, ...]]:
    """Open the sets that results are measured on: the clean test set and the triggered sets.

    target: as for `open_sets`. Raises InputError where a set does not fit the network.
    """
    check_target(target, network.classes)
    triggered = open_triggered(network, poisoned_tests, "poisoned_tests", target)
    test = None if clean_test is None else images_for(network, clean_test, "clean_test")
    return test, triggered


def open_triggered(
    network: Network, sets: Sequence[Images], name: str, target: int | None
) -> tuple[ImageSet, ...]:
    """Open triggered sets, labelled with the target. name: of the argument, for messages.

    target: as for `open_sets`. Raises InputError where a set does not fit the network.
    """
    return tuple(
        _triggered(network, images, f"{name}[{index}]", target) for index, images in enumerate(sets)
    )


def _check_class_names(sets: Sequence[ImageSet]) -> None:
    """Raises InputError where two sets name their classes differently: then one label stands for
    two classes."""
    with_names = [(images.path, images.class_names) for images in sets if images.class_names]
    for path, names in with_names[1:]:
        first, expected = with_names[0]
        if names != expected:
            ours, theirs = (", ".join(classes or ())[:80] for classes in (expected, names))
            raise mismatch(path, f"the classes of {first}: {ours}", theirs)


def _triggered(network: Network, images: Images, name: str, target: int | None) -> ImageSet:
    """A triggered set, labelled with the target class.

    target: None where the set's labels already are the target. With a target, a folder needs no
    subfolders for classes, and an .npz no labels.
    """
    if target is None:
        return images_for(network, images, name)
    if isinstance(images, Path) and (checked_source(images).is_dir() or is_numpy_archive(images)):
        return open_unlabelled(images, network.input_shape).labelled(target)
    return images_for(network, images, name).labelled(target)


def images_for(network: Network, images: Images, name: str) -> ImageSet:
    """Open an image set for a network. name: the argument's name, for messages.

    Raises InputError where the shape of its images or its labels do not fit the network.
    """
    if isinstance(images, Path):
        return open_images(images, network.input_shape, network.classes)
    if isinstance(images, ImagesInMemory) and images.path == IN_MEMORY:
        images = images.called(Path(f"{name}, {IN_MEMORY}"))
    if images.input_shape != network.input_shape:
        expected, found = (
            f"images of {'×'.join(map(str, shape))}, channels first"
            for shape in (network.input_shape, images.input_shape)
        )
        raise mismatch(images.path, expected, found)
    unknown = (images.labels < 0) | (images.labels >= network.classes)
    if unknown.any():
        index = int(np.argmax(unknown))
        label = int(images.labels[index])
        raise mismatch(
            f"{images.path}, labels",
            f"classes of 0…{network.classes - 1}",
            f"{label} at {index}",
            BACKDOORED_CLASS if label == network.classes else "",
        )
    return images
