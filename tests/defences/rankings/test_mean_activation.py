from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, random_images
from tests.made.small_run import write_faces
from ytf_torch.defences.rankings.mean_activation import MeanActivation
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.progress import untracked

IMAGES = 40


@pytest.mark.parametrize(
    ("layer", "rank_at", "point"),
    [("conv_3", None, "pool_3"), ("conv_3", "conv_3", "conv_3"), ("conv_4", None, "conv_4")],
)
def test_scores_are_means_over_all_faces_and_positions(
    tmp_path: Path, checkpoint: Checkpoint, layer: str, rank_at: str | None, point: str
) -> None:
    images = random_images(SMALL, IMAGES)
    faces = write_faces(tmp_path / "valid.h5", images, np.zeros(IMAGES))
    model = checkpoint.model
    found = MeanActivation(rank_at).scores(model, layer, faces, untracked)
    with torch.inference_mode():
        output = model.output_of(point, {"input": model.scale(torch.from_numpy(images))})
    expected = output.double().mean((0, 2, 3))
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected)
