"""What methods that learn may take: repairs, scans and detectors that compute gradients, for many
faces at once, with all clean validation faces in memory. It is told from sizes, before any starts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from ytf_torch.defences.baseline import check_pixel_scale_by_accuracy
from ytf_torch.defences.doubts import Doubt, clean_doubts
from ytf_torch.defences.evaluation import evaluate
from ytf_torch.errors import InputError, mismatch
from ytf_torch.images.image_set import ImageSet
from ytf_torch.metrics import Tally
from ytf_torch.network.budget import check_learned
from ytf_torch.network.module import Network
from ytf_torch.network.usable import check_tells_apart
from ytf_torch.run.sets import images_for

WITHOUT_GRADIENTS = {
    *("pruning", "kernel-norm", "clp"),
    *("energy-and-dissent", "goodnet"),
    "last-layer",
}
WITHOUT_FACES = {"mm-bd"}
TWINS = "clean twins"
# The validation set of the published networks, of 11,547 faces, has 90 million.
MAX_VALUES_IN_MEMORY = 128_000_000
# Of a mask and a pattern for each class: 13 million for the published networks' 1,283.
MAX_TRIGGER_VALUES = 50_000_000


def open_learned(
    network: Network, clean_valid: Path | ImageSet, methods: Iterable[str]
) -> tuple[ImageSet, list[Doubt]]:
    """Clean validation faces that scans or detectors of these names learn from, and what looks
    wrong about them. network: B.

    Raises InputError where they do not fit the network, where it recognises them far better with
    another pixel scale, or where there is not enough memory.
    """
    faces = images_for(network, clean_valid, "clean_valid")
    check_learning(network, faces, methods)
    known = evaluate(network, clean_valid=faces).clean_valid
    assert known is not None
    check_finite_on(faces, known, methods)
    check_pixel_scale_by_accuracy(network, faces, known)
    return faces, clean_doubts(network, faces, known, "validation")


def learning_names(methods: Iterable[str], twins: int) -> tuple[str, ...]:
    """The names of scans, and what stands for clean twins, which learn from the images even where
    the scans do not."""
    return (*methods, TWINS) if twins else tuple(methods)


def check_finite_on(clean_valid: ImageSet, known: Tally, methods: Iterable[str]) -> None:
    """Raises InputError where a method of these names would learn from faces on which the network's
    logits are not finite: whatever it trains would not be either. known: how they fared."""
    learning = sorted(set(methods) - WITHOUT_GRADIENTS - WITHOUT_FACES)
    if learning and known.not_finite[0]:
        raise InputError(
            clean_valid.path,
            f"the network's logits are NaN or infinite on {known.not_finite[0]:,} of its "
            f"{known.images:,} faces, from which {learning[0]} would learn",
            "Leave these faces out",
        )


def check_learning(network: Network, clean_valid: ImageSet, methods: Iterable[str]) -> None:
    """Raises InputError where the network has no answers to learn from, or methods of these names
    would take more memory than there may be."""
    check_tells_apart(network, "the network")
    learning = sorted(set(methods) - WITHOUT_GRADIENTS)
    if not learning:
        return
    graph, where = network.graph, f"the network, for {learning[0]}"
    check_learned(where, graph, network.dtype.itemsize)
    most = MAX_VALUES_IN_MEMORY // math.prod(network.input_shape)
    if len(clean_valid) > most:
        expected = f"at most {most:,} clean validation faces to learn from"
        raise mismatch(clean_valid.path, expected, f"{len(clean_valid):,}", "Give some of them")
    channels, height, width = network.input_shape
    most = MAX_TRIGGER_VALUES // ((channels + 1) * height * width)
    if "neural-cleanse" in learning and network.classes > most:
        remedy = "Leave it out of the methods"
        raise mismatch(where, f"at most {most:,} classes", f"{network.classes:,}", remedy)
