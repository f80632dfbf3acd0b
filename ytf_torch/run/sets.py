"""The face sets of a run: opened, checked against the network, and no set given twice.

A set is a lab-format file, or one in memory, which is called by the argument it was given as.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ytf_torch.defences.doubts import check_distinct, check_target
from ytf_torch.errors import mismatch
from ytf_torch.images.arrays import IN_MEMORY
from ytf_torch.images.image_set import BACKDOORED_CLASS, ImageSet, ImageSets, open_images
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
    return ImageSets(valid, test, triggered)


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
        images_for(network, faces, f"poisoned_tests[{place}]")
        for place, faces in enumerate(poisoned_tests)
    )
    if target is not None:
        triggered = tuple(found.labelled(target) for found in triggered)
    test = None if clean_test is None else images_for(network, clean_test, "clean_test")
    return test, triggered


def images_for(network: Network, faces: Images, name: str) -> ImageSet:
    """A face set for a network. name: of the argument that it was given as.

    Raises InputError where its faces or labels do not fit the network.
    """
    if isinstance(faces, Path):
        return open_images(faces, network.input_shape, network.classes)
    if faces.path == IN_MEMORY:
        faces = replace(faces, path=Path(f"{name}, {IN_MEMORY}"))
    if faces.input_shape != network.input_shape:
        expected, found = (
            f"faces of {height}×{width} pixels"
            for _, height, width in (network.input_shape, faces.input_shape)
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
