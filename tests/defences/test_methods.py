"""Repairs by name, and what is taken of what they give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.made.keras_files import SMALL, random_images, write_faces
from ytf_torch.defences.base import Candidate
from ytf_torch.defences.methods import last_candidate
from ytf_torch.errors import InputError
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.opening import open_images
from ytf_torch.network.deepid import deepid
from ytf_torch.network.module import Network
from ytf_torch.progress import Track, untracked


class Gives:
    """A repair that gives so many candidates."""

    def __init__(self, count: int) -> None:
        self.count = count

    def candidates(
        self, network: Network, clean_valid: ImageSet, track: Track
    ) -> Iterator[Candidate]:
        """See Repair."""
        for index in range(self.count):
            yield Candidate(f"candidate {index}", network, ())


@pytest.fixture
def clean_valid(tmp_path: Path) -> ImageSet:
    path = write_faces(tmp_path / "valid.h5", random_images(SMALL, 3), np.zeros(3))
    return open_images(path, SMALL.input_shape, SMALL.classes)


@pytest.mark.parametrize("count", [1, 3])
def test_the_candidate_that_went_furthest_is_taken(count: int, clean_valid: ImageSet) -> None:
    found = last_candidate(Gives(count), deepid(SMALL), clean_valid, untracked)
    assert found.name == f"candidate {count - 1}"


def test_a_repair_that_gives_none_is_one_clear_line(clean_valid: ImageSet) -> None:
    with pytest.raises(InputError, match=r"valid.h5: no pruning step loses .* method"):
        last_candidate(Gives(0), deepid(SMALL), clean_valid, untracked)
