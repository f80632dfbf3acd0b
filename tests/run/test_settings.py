from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.made.keras_files import LAB
from ytf_torch.errors import InputError
from ytf_torch.network.deepid import deepid_graph
from ytf_torch.network.preprocessing import KERAS_MODES, RAW, Preprocessing
from ytf_torch.run.settings import read_settings, settings_toml

LAB_GRAPH = deepid_graph(LAB)
FLAGS = {"model": Path("m"), "clean_valid": Path("v"), "out": Path("o")}


def test_defaults_are_the_labs() -> None:
    settings = read_settings(None, FLAGS)
    of_lab = settings.of_network(LAB_GRAPH)
    assert (of_lab.layer, of_lab.rank_at) == ("conv_3", "pool_3")
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
    settings = read_settings(None, FLAGS | {"layer": layer})
    assert settings.of_network(LAB_GRAPH).rank_at == rank_at


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"layer": "fc_1"}, "`layer`: expected conv_1 or conv_2 or conv_3 or conv_4, found fc_1"),
        ({"rank_at": "pool_1"}, 'expected pool_3 or conv_3 for `layer="conv_3"`, found pool_1'),
    ],
)
def test_a_layer_that_the_network_has_not_is_named_with_those_it_has(
    flags: dict[str, object], line: str
) -> None:
    with pytest.raises(InputError) as error:
        read_settings(None, FLAGS | flags).of_network(LAB_GRAPH)
    assert line in str(error.value)


def test_a_leading_tilde_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "run.toml"
    path.write_text(
        'model = "~/m.h5"\nclean_valid = "~/v.h5"\npoisoned_test = ["~/p.h5"]\nout = "~/runs/a"\n'
    )
    settings = read_settings(path, {"clean_test": Path("~/t.h5")})
    assert settings.model == tmp_path / "m.h5"
    assert settings.clean_valid == tmp_path / "v.h5"
    assert settings.clean_test == tmp_path / "t.h5"
    assert settings.poisoned_test == (tmp_path / "p.h5",)
    assert settings.out == tmp_path / "runs" / "a"


def test_a_tilde_of_nobody_is_named() -> None:
    with pytest.raises(InputError, match="no home folder is known for ~nobody-of-that-name"):
        read_settings(None, FLAGS | {"out": "~nobody-of-that-name/run"})


def test_files_beside_the_configuration_are_not_where_its_paths_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "lab", tmp_path / "elsewhere"
    (folder / "data").mkdir(parents=True)
    elsewhere.mkdir()
    (folder / "data" / "m.h5").touch()
    path = folder / "run.toml"
    path.write_text('model = "data/m.h5"\nclean_valid = "v.h5"\nout = "o"\n')
    monkeypatch.chdir(elsewhere)
    with pytest.raises(InputError, match=r"run.toml, model: data/m.h5 is not in .*elsewhere") as e:
        read_settings(path, {})
    assert f"It is in {folder}: run the command there" in str(e.value)
    assert read_settings(path, {"model": Path("n.h5")}).model == Path("n.h5")
    monkeypatch.chdir(folder)
    assert read_settings(path, {}).model == Path("data/m.h5")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"model": None}, "`model` is missing"),
        ({"clean_valid": None}, "`clean_valid` is missing"),
        ({"order": "random"}, "`order`: expected 'ascending' or 'descending', found random"),
        ({"device": "tpu"}, "device.*'auto', 'cpu' or 'cuda'"),
        ({"drops": "2,x"}, "`drops`"),
        ({"drops": "101"}, "above 0 and up to 100.* found 101"),
        ({"drops": "2,2.0"}, "each drop once"),
        ({"drops": ",".join(map(str, range(1, 22)))}, "`drops`: expected at most 20 .* found 21"),
        ({"poisoned_test": ["bd.h5"] * 21}, "`poisoned_test`: expected at most 20 sets, found 21"),
        ({"pixel_scale": "0"}, "1 or 1/255"),
        ({"pixel_scale": "255"}, "found 255.* divided by 255 has 1/255"),
        ({"poisoned_test": 3}, "`poisoned_test`: expected a path or a list of them, found 3"),
    ],
)
def test_a_bad_setting_is_named_with_what_it_may_be(flags: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_settings(None, FLAGS | flags)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drop = 3", r"unknown key drop\. Did you mean drops\?"),
        ("colour = 3", r"unknown key colour\. Expected one of model, clean_valid"),
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


def test_a_misspelt_key_comes_before_the_key_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('modle = "m.h5"\nclean_valid = "v.h5"\nout = "o"\n')
    with pytest.raises(InputError, match=r"unknown key modle\. Did you mean model\?"):
        read_settings(path, {})


SMALLEST = 'model = "m.h5"\nclean_valid = "v.h5"\nout = "o"\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_settings_are_read_as_windows_writes_them(
    tmp_path: Path, encoding: str, ending: str
) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(SMALLEST.replace("\n", ending).encode(encoding))
    assert read_settings(path, {}).clean_valid == Path("v.h5")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32", "cp1252"])
def test_settings_in_another_encoding_are_to_be_saved_as_utf_8(
    tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(SMALLEST.replace("m.h5", "gesicht-ä.h5").encode(encoding))
    with pytest.raises(InputError, match="Save it as UTF-8"):
        read_settings(path, {})


@pytest.mark.parametrize("written", [r"C:\Users\me\b.h5", r"faces\valid.h5", r"D:\new\test.h5"])
def test_a_path_with_backslashes_in_double_quotes_gets_a_hint(tmp_path: Path, written: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(SMALLEST.replace("v.h5", written))
    with pytest.raises(InputError, match="in single quotes"):
        read_settings(path, {})


@pytest.mark.parametrize(
    ("text", "flags", "asked"),
    [
        ('preprocessing = "tf"', {}, KERAS_MODES["tf"]),
        ('preprocessing = "tf"', {"preprocessing": "caffe"}, KERAS_MODES["caffe"]),
        ('preprocessing = "tf"', {"pixel_scale": "1/255"}, Preprocessing(1 / 255)),
        ("pixel_scale = 0.5", {"preprocessing": "tf"}, KERAS_MODES["tf"]),
        ("pixel_scale = 0.5", {}, Preprocessing(0.5)),
        ("", {}, None),
        ("[preprocessing]\nscale = [1, 1, 0.5]", {}, Preprocessing((1, 1, 0.5))),
    ],
)
def test_a_flag_wins_over_a_file_that_says_the_same_in_another_way(
    tmp_path: Path, text: str, flags: dict, asked: Preprocessing | None
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    assert read_settings(path, FLAGS | flags).asked == asked


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pixel_scale = 1\npreprocessing = 'tf'", "expected one of them, found both"),
        ("preprocessing = 3", "`preprocessing`: expected tf, caffe, torch or"),
        ("[preprocessing]\nscales = 1", "found 'scales'"),
        ("[preprocessing.scale]\nred = 1", "`preprocessing`: expected a number"),
        ("[target]\nscale = 1", "target: expected a text, a number or a list"),
    ],
)
def test_a_file_that_asks_for_no_preprocessing_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_settings(path, FLAGS)


@pytest.mark.parametrize("name", [b"v\xff.h5", "größe.h5".encode(), b"a b'.h5", b"100%.h5"])
def test_settings_name_the_files_of_a_run_again_whatever_they_are_called(
    tmp_path: Path, name: bytes
) -> None:
    file = tmp_path / os.fsdecode(name)
    settings = read_settings(None, FLAGS | {"clean_valid": file, "poisoned_test": [file]})
    path = tmp_path / "settings.toml"
    path.write_bytes(settings_toml(settings, RAW, "cpu").encode())
    again = read_settings(path, {"out": Path("o")})
    assert (again.clean_valid, again.poisoned_test) == (file, (file,))
