from __future__ import annotations

from pathlib import Path

import pytest

from ytf_torch.errors import InputError
from ytf_torch.network.pixel_scale import parse_pixel_scale
from ytf_torch.run.settings import read_settings

FLAGS = {"model": Path("m"), "clean_valid": Path("v"), "out": Path("o")}


def test_defaults_are_the_labs() -> None:
    settings = read_settings(None, FLAGS)
    assert (settings.layer, settings.rank_at) == ("conv_3", "pool_3")
    assert settings.drops == ("2", "4", "10")
    assert settings.device == "auto"
    assert settings.pixel_scale is None


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('clean_valid = "v.h5"\nmodel = "m.h5"\nout = "o"\ndrops = [1, 2.5]\n')
    settings = read_settings(path, {"model": Path("other.h5"), "drops": None})
    assert settings.model == Path("other.h5")
    assert settings.clean_valid == Path("v.h5")
    assert settings.drops == ("1", "2.5")


def test_one_poisoned_set_needs_no_list() -> None:
    settings = read_settings(None, FLAGS | {"poisoned_test": "p.h5"})
    assert settings.poisoned_test == (Path("p.h5"),)


@pytest.mark.parametrize(
    ("layer", "rank_at"), [("conv_1", "pool_1"), ("conv_3", "pool_3"), ("conv_4", "conv_4")]
)
def test_channels_are_ranked_at_the_layers_own_pool(layer: str, rank_at: str) -> None:
    assert read_settings(None, FLAGS | {"layer": layer}).rank_at == rank_at


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"model": None}, "--model is missing"),
        ({"clean_valid": None}, "--clean-valid is missing"),
        ({"layer": "fc_1"}, "--layer: expected conv_1 or conv_2 or conv_3 or conv_4, found fc_1"),
        ({"rank_at": "pool_1"}, "expected pool_3 or conv_3 for --layer conv_3, found pool_1"),
        ({"device": "tpu"}, "device.*'auto', 'cpu' or 'cuda'"),
        ({"drops": "2,x"}, "--drops"),
        ({"drops": "2,2.0"}, "each drop once"),
        ({"pixel_scale": "0"}, "1 or 1/255"),
        ({"poisoned_test": 3}, "--poisoned-test: expected a path or a list of them, found 3"),
    ],
)
def test_a_bad_setting_is_named_with_what_it_may_be(flags: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_settings(None, FLAGS | flags)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drop = 3", "unknown key drop"),
        ("drops = ", "not a TOML file"),
        ("\x00", "not a TOML file"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_settings(path, FLAGS)
    assert "run.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "scale"), [("1", 1.0), ("1/255", 1 / 255), ("0.5", 0.5), (" 2 / 4 ", 0.5)]
)
def test_pixel_scales(text: str, scale: float) -> None:
    assert parse_pixel_scale(text) == scale


@pytest.mark.parametrize("text", ["", "x", "1/0", "-1", "nan", "1/", "inf", "1/2/3"])
def test_what_is_no_pixel_scale(text: str) -> None:
    with pytest.raises(InputError, match="1 or 1/255"):
        parse_pixel_scale(text)
