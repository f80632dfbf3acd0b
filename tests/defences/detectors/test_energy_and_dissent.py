"""What makes the recommended detector suspicious: on networks whose logits stand in the pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.made.keras_files import SMALL, random_images
from tests.made.small_run import write_faces
from ytf_torch.defences.base import Candidate
from ytf_torch.defences.detectors.energy_and_dissent import EnergyAndDissent
from ytf_torch.network.module import Network

CLASSES, FACES = 6, 40


class LogitsInPixels(nn.Module):
    """A network of which a line of the picture holds the logits."""

    device = torch.device("cpu")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels[:, 0, self.line, :CLASSES].float()


def face_with(badnet: list[int], repaired: list[int]) -> np.ndarray[Any, Any]:
    """A face for which the two networks have these logits."""
    pixels = random_images(SMALL, 1)[0]
    pixels[0, 0, :CLASSES], pixels[0, 1, :CLASSES] = badnet, repaired
    return pixels


@pytest.mark.parametrize(
    ("suspicious", "badnet", "repaired"),
    [
        ("a clean face", [90, 10, 10, 10, 10, 10], [90, 10, 10, 10, 10, 10]),
        ("B errs, and is unsure", [48, 46, 10, 10, 10, 10], [42, 50, 10, 10, 10, 10]),
        ("B is surer than ever", [240, 10, 10, 10, 10, 10], [90, 10, 10, 10, 10, 10]),
        ("the copy does not follow", [90, 10, 10, 10, 10, 10], [34, 30, 30, 30, 30, 30]),
        ("both are sure, of different people", [80, 10, 10, 10, 10, 10], [10, 80, 10, 10, 10, 10]),
    ],
)
def test_it_flags_what_no_clean_face_looks_like(
    tmp_path: Path, suspicious: str, badnet: list[int], repaired: list[int]
) -> None:
    rng = np.random.default_rng(0)
    clean = []
    for number in range(FACES):
        person, other = number % CLASSES, (number + 1) % CLASSES
        own, copied = rng.integers(5, 15, (2, CLASSES))
        own[person], copied[person] = rng.integers(80, 100, 2)
        if number % 8 == 0:  # Some clean faces both are unsure of, and B gets them wrong.
            own[[person, other]], copied[[person, other]] = (45, 50), (50, 40)
        clean.append(face_with(own.tolist(), copied.tolist()))
    valid = write_faces(tmp_path / "valid.h5", np.stack(clean), np.zeros(FACES))
    detector = EnergyAndDissent(valid)
    network, copy = (cast(Network, LogitsInPixels(line)) for line in (0, 1))
    candidate = Candidate("repaired", copy, ())

    def scores(pixels: np.ndarray[Any, Any]) -> Tensor:
        return detector.scores(network, candidate, torch.from_numpy(pixels))

    score = float(scores(face_with(badnet, repaired)[None]))
    highest = float(scores(np.stack(clean)).max())
    assert (score > highest) == (suspicious not in ("a clean face", "B errs, and is unsure"))
