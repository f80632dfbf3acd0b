from __future__ import annotations

import pytest

from ytf_torch.demo.digits.network import sequential_graph
from ytf_torch.network.deepid import DeepIDSizes, deepid_graph
from ytf_torch.network.graph import Graph
from ytf_torch.network.subject import FACES, IMAGES, Subject, subject_of

KERNELS = ((4, 4), (3, 3), (3, 3), (2, 2))
DEEPID = deepid_graph(DeepIDSizes((55, 47), (2, 3, 4, 5), KERNELS, features=6, classes=7))


@pytest.mark.parametrize(("graph", "subject"), [(DEEPID, FACES), (sequential_graph(), IMAGES)])
def test_deepid_recognises_people_and_other_networks_tell_classes_apart(
    graph: Graph, subject: Subject
) -> None:
    assert subject_of(graph) == subject
