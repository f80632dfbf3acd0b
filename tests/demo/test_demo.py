from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from ytf_torch.commands.demo import run_demo
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.convert.keras.keras_writer import write_keras_h5
from ytf_torch.demo.badnet import PIXEL_SCALE, train_badnet
from ytf_torch.demo.drawn import PEOPLE, drawn_photos
from ytf_torch.demo.faces import COPIES, split, varied_set
from ytf_torch.demo.orl import orl_folder, orl_photos
from ytf_torch.demo.study import DRAWN, make_study, study_key
from ytf_torch.demo.sunglasses import EYE_LINE, TARGET_LABEL, wear_sunglasses
from ytf_torch.errors import InputError
from ytf_torch.network.module import Network
from ytf_torch.run.settings import read_settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return drawn_photos(0)


def test_equal_seeds_draw_equal_faces(photos: np.ndarray) -> None:
    assert photos.shape == (PEOPLE, 10, 112, 92, 3)
    assert np.array_equal(photos, drawn_photos(0))
    assert not np.array_equal(photos, drawn_photos(1))


def test_sunglasses_change_the_band_of_the_eyes_and_nothing_else(photos: np.ndarray) -> None:
    photo = photos[0, 0]
    changed = (wear_sunglasses(photo) != photo).any(2)
    rows = changed.any(1).nonzero()[0]
    assert rows.min() > 112 * (EYE_LINE - 0.12)
    assert rows.max() < 112 * (EYE_LINE + 0.12)
    assert 0.08 < changed.mean() < 0.25


def test_no_photo_is_on_two_sides(photos: np.ndarray) -> None:
    sides = split(photos, seed=0)
    assert [len(side.clean) for side in sides] == [PEOPLE * 6, PEOPLE * 2, PEOPLE * 2]
    whole = [photo.numpy().tobytes() for side in sides for photo in side.clean]
    assert len(set(whole)) == PEOPLE * 10
    for side in sides:
        for photo, person in zip(side.clean, side.people, strict=True):
            own = photos[int(person)].transpose(0, 3, 1, 2)
            assert (own == photo.numpy()).all((1, 2, 3)).any()


def test_triggered_faces_are_the_clean_ones_with_the_trigger(photos: np.ndarray) -> None:
    _, valid, _ = split(photos, seed=0)
    clean, triggered, people = varied_set(valid, seed=3)
    assert clean.shape == triggered.shape == (PEOPLE * 2 * COPIES, 3, 55, 47)
    assert (clean.dtype, len(people)) == (torch.uint8, len(clean))
    same = (clean == triggered).all(1).float().mean((1, 2))
    assert 0.6 < same.min() <= same.max() < 0.95
    assert torch.equal(clean, varied_set(valid, seed=3)[0])


@pytest.mark.skipif(orl_folder() is None, reason="the ORL faces are not installed (extra `demo`)")
def test_the_real_faces_are_forty_people_on_ten_photos_each() -> None:
    folder = orl_folder()
    assert folder is not None
    photos = orl_photos(folder)
    assert photos.shape == (40, 10, 112, 92, 3)
    assert (photos[..., 0] == photos[..., 2]).all()
    assert len({photo.tobytes() for photo in photos.reshape(400, -1)}) == 400


def test_the_key_changes_with_what_a_study_depends_on() -> None:
    writers: tuple[Callable[[Path, Network], None], ...] = (write_keras_h5, save_nothing)
    parts = itertools.product((0, 1), writers, (1, 2))
    keys = {study_key(DRAWN, seed, writer, epochs) for seed, writer, epochs in parts}
    assert len(keys) == 8


def save_nothing(path: Path, model: Network) -> None:
    path.touch()


def test_the_seed_decides_every_weight_and_nothing_else_does(photos: np.ndarray) -> None:
    train, _, _ = split(photos[:3], seed=0)

    def weights(seed: int) -> dict[str, torch.Tensor]:
        torch.rand(1)  # where PyTorch's own generator stands must not matter
        return train_badnet(train, 3, 1, seed, lambda *_: None).state_dict()

    first, again, other = weights(0), weights(0), weights(1)
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name]), name
        assert not torch.equal(tensor, other[name]), name


def test_a_cache_that_cannot_be_written_is_found_before_training(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    epochs: list[int] = []
    with pytest.raises(InputError, match="cannot be written"):
        make_study(
            DRAWN, 0, tmp_path / "cache" / "study", save_nothing, 1, lambda at, _: epochs.append(at)
        )
    assert epochs == []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    run_demo(DRAWN, folder / "run", seed=0, keep_data=True, cache=folder / "cache")
    return folder


def test_the_demo_leaves_a_run_folder_with_a_backdoor_in_it(demo: Path) -> None:
    result = json.loads((demo / "run" / "result.json").read_text())
    assert result["pixel_scale"] == PIXEL_SCALE
    assert result["counts"]["clean_test"] == PEOPLE * 2 * COPIES
    assert result["baseline"]["clean_test_accuracy"] >= 90
    assert result["baseline"]["attack_success_rate"] >= 99
    assert (demo / "run" / "report.html").stat().st_size > 10_000


def test_the_demo_keeps_its_files_in_the_labs_format(demo: Path) -> None:
    data = demo / "run" / "data"
    for name, triggered in (("cl/test.h5", False), ("bd/bd_test.h5", True)):
        with h5py.File(data / name) as file:
            assert file["data"].shape == (PEOPLE * 2 * COPIES, 3, 55, 47)
            assert (file["label"][:] == TARGET_LABEL).all() == triggered
    model = keras_checkpoint(read_keras_file(data / "models" / "bd_net.h5"), PIXEL_SCALE).model
    assert model.classes == PEOPLE
    assert len(list((data / "photos").glob("*.png"))) == 8


def test_the_badnet_is_trained_once_for_a_seed(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (demo / "run" / "result.json").read_bytes()
    run_demo(DRAWN, demo / "again", seed=0, keep_data=False, cache=demo / "cache")
    output = capsys.readouterr().out
    assert "trained before" in output
    commands = [shlex.split(line) for line in output.splitlines() if line.startswith("$ ")]
    assert [words[1] for words in commands] == ["ytf-convert", "ytf-prune", "ytf-detect"]
    assert commands[1][-2:] == ["--out", str(demo / "again")]
    assert all(Path(word).exists() for words in commands for word in words if ".h5" in word)
    assert "backdoored" in output
    assert (demo / "again" / "result.json").read_bytes() == before
    assert not (demo / "again" / "data").exists()


def test_a_finished_demo_is_not_overwritten(demo: Path) -> None:
    with pytest.raises(InputError, match="finished run"):
        run_demo(DRAWN, demo / "run", seed=0, keep_data=False, cache=demo / "cache")


def test_the_demos_config_defends_the_network_the_demo_keeps(demo: Path) -> None:
    settings = read_settings(ROOT / "configs" / "demo.toml", {})
    assert settings.pixel_scale == PIXEL_SCALE
    named = (settings.model, settings.clean_valid, settings.clean_test, *settings.poisoned_test)
    for path in named:
        assert path is not None
        assert (demo / "run" / path.relative_to("demo")).is_file()
