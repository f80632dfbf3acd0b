from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, random_images
from tests.made.small_run import write_faces
from ytf_torch.defences.base import Candidate
from ytf_torch.defences.detectors.alarm import calibrated, scores_of
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.module import Network

FACES = 40


class FirstPixel:
    """Scores a face by its first value."""

    def scores(
        self, network: Network, candidate: Candidate | None, pixels: torch.Tensor
    ) -> torch.Tensor:
        return pixels[:, 0, 0, 0].float()


@pytest.fixture
def numbered(tmp_path: Path) -> ImageSet:
    """Faces whose first value is their number."""
    pixels = random_images(SMALL, FACES)
    pixels[:, 0, 0, 0] = np.arange(FACES)
    return write_faces(tmp_path / "valid.h5", pixels, np.zeros(FACES))


def test_every_face_is_scored_in_order(checkpoint: Checkpoint, numbered: ImageSet) -> None:
    found = scores_of(FirstPixel(), checkpoint.model, None, numbered)
    assert found.tolist() == list(range(FACES))


@pytest.mark.parametrize(
    ("rate", "flagged"), [(0.0, 0), (2.4, 0), (2.5, 1), (5.0, 2), (50.0, 20), (100.0, 40)]
)
def test_a_calibrated_alarm_flags_that_share_of_the_validation_faces(
    checkpoint: Checkpoint, numbered: ImageSet, rate: float, flagged: int
) -> None:
    alarm = calibrated(FirstPixel(), checkpoint.model, None, numbered, rate)
    pixels = numbered.select(range(FACES)).pixels
    assert int(alarm.flags(checkpoint.model, None, pixels).sum()) == flagged
