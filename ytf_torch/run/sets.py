"""The face sets of a run: opened, checked against the network, and no set given twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ytf_torch.defences.doubts import check_distinct, check_target
from ytf_torch.faces.face_set import FaceSet, FaceSets, open_faces
from ytf_torch.network.module import Network


def open_sets(
    network: Network,
    clean_valid: Path,
    clean_test: Path | None,
    poisoned_tests: Sequence[Path],
    target: int | None = None,
) -> FaceSets:
    """The face sets of a run.

    target: the attacker's, for triggered faces that carry their true labels.
    Raises InputError where a set does not fit the network, or holds the same faces as another.
    """
    test, triggered = open_measured(network, clean_test, poisoned_tests, target)
    valid = open_faces(clean_valid, network.input_shape, network.classes)
    check_distinct(valid, test, triggered)
    return FaceSets(valid, test, triggered)


def open_measured(
    network: Network,
    clean_test: Path | None,
    poisoned_tests: Sequence[Path],
    target: int | None = None,
) -> tuple[FaceSet | None, tuple[FaceSet, ...]]:
    """The face sets that figures are measured on, the clean test set and the triggered ones.

    target: as for `open_sets`. Raises InputError where a set does not fit the network.
    """
    check_target(target, network.classes)

    def faces(path: Path) -> FaceSet:
        return open_faces(path, network.input_shape, network.classes)

    triggered = tuple(map(faces, poisoned_tests))
    if target is not None:
        triggered = tuple(found.labelled(target) for found in triggered)
    test = None if clean_test is None else faces(clean_test)
    return test, triggered
