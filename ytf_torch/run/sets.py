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
    check_target(target, network.classes)

    def faces(path: Path) -> FaceSet:
        return open_faces(path, network.input_shape, network.classes)

    triggered = tuple(map(faces, poisoned_tests))
    if target is not None:
        triggered = tuple(found.labelled(target) for found in triggered)
    test = None if clean_test is None else faces(clean_test)
    sets = FaceSets(faces(clean_valid), test, triggered)
    check_distinct(sets.clean_valid, sets.clean_test, sets.poisoned_tests)
    return sets
