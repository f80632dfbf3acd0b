from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT
from ytf_torch.run.settings import PruneSettings, read_settings

# Settings that stand in the files as a comment, for they have no value that does nothing.
LEFT_OUT = {"target"}
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_config_names_every_setting_and_explains_it(path: Path) -> None:
    read_settings(path, {})
    text = path.read_text(encoding="utf-8")
    assert set(tomllib.loads(text)) | LEFT_OUT == set(PruneSettings.model_fields)
    for key in PruneSettings.model_fields:
        assert re.search(rf"^# .+\n(# )?{key} = ", text, re.MULTILINE), f"{key} has no comment"


@pytest.mark.parametrize(
    ("name", "pixel_scale"), [("lab3", 1.0), ("csaw2020", 1 / 255), ("demo", 1.0)]
)
def test_the_networks_pixel_scales(name: str, pixel_scale: float) -> None:
    settings = read_settings(ROOT / "configs" / f"{name}.toml", {})
    assert settings.pixel_scale == pixel_scale
    assert (settings.drops, settings.rank_at) == (("2", "4", "10"), "pool_3")
