from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from ytf_torch.errors import InputError
from ytf_torch.run.configs import config_file, known_configs
from ytf_torch.run.settings import PruneSettings, read_settings

# Settings that stand in the files as a comment, for they have no value that does nothing.
LEFT_OUT = {"target", "layer", "rank_at", "preprocessing"}
CONFIGS = [config_file(Path(name)) for name in known_configs()]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_config_names_every_setting_and_explains_it(path: Path) -> None:
    read_settings(path, {})
    text = path.read_text(encoding="utf-8")
    assert set(tomllib.loads(text)) | LEFT_OUT == set(PruneSettings.model_fields)
    for key in PruneSettings.model_fields:
        assert re.search(rf"^# .+\n(# )?{key} = ", text, re.MULTILINE), f"{key} has no comment"


@pytest.mark.parametrize(
    ("name", "pixel_scale", "rank_at", "drops"),
    [
        ("lab3", 1.0, "pool_3", ("2", "4", "10", "30")),
        ("csaw2020", 1 / 255, "pool_3", ("2", "4", "10")),
        ("demo", 1.0, "pool_3", ("2", "4", "10")),
        ("mnist", 1 / 255, None, ("2", "4", "10")),
        ("gtsrb", 1 / 255, None, ("2", "4", "10")),
    ],
)
def test_the_networks_pixel_scales(
    name: str, pixel_scale: float, rank_at: str | None, drops: tuple[str, ...]
) -> None:
    settings = read_settings(config_file(Path(name)), {})
    assert settings.pixel_scale == pixel_scale
    assert (settings.drops, settings.rank_at) == (drops, rank_at)


def test_a_configuration_is_found_by_its_name_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()  # What ytf-demo wrote does not stand in the way.
    assert known_configs() == ["csaw2020", "demo", "gtsrb", "lab3", "mnist"]
    for name in known_configs():
        path = config_file(Path(name))
        assert f"ytf-prune --config {name}" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("given", ["lab3", "lab3.toml", "configs/lab3", "csaw2020.toml"])
def test_a_file_wins_over_a_name(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(given).parent.mkdir(exist_ok=True)
    Path(given).touch()
    assert config_file(Path(given)) == Path(given)


@pytest.mark.parametrize("given", ["lab3.toml", "configs/lab3", "/lab3"])
def test_a_path_is_no_name(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_file(Path(given)) == Path(given)


def test_an_unknown_name_is_answered_by_the_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no file lab4, .* csaw2020, demo, gtsrb, lab3, mnist"):
        config_file(Path("lab4"))
