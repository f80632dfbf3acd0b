"""What tests of defences share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.made.badnet import MadeBadNet, made_badnet
from ytf_torch.images.image_set import ImageSet


@pytest.fixture(scope="session")
def badnet() -> MadeBadNet:
    return made_badnet()


@pytest.fixture
def clean_valid(badnet: MadeBadNet, tmp_path: Path) -> ImageSet:
    return badnet.clean_valid(tmp_path)
