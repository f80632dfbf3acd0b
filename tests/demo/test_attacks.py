from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ytf_torch.commands.demo import app
from ytf_torch.demo.attacks import ATTACK_NAMES, training
from ytf_torch.demo.attacks.attack import ATTACKS
from ytf_torch.demo.attacks.training import Attacked, train_attacked
from ytf_torch.demo.drawn import drawn_photos
from ytf_torch.demo.faces import Photos, shrink, split
from ytf_torch.demo.study import DRAWN, make_study, study_key
from ytf_torch.network.module import Network

PEOPLE = 4


@pytest.fixture(scope="module")
def photos() -> Photos:
    return split(drawn_photos(0)[:PEOPLE], seed=0)[0]


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "FACES_PER_EPOCH", 48)


def trained(name: str, photos: Photos, seed: int = 0) -> Network:
    return attacked(name, photos, seed).network


def attacked(name: str, photos: Photos, seed: int = 0) -> Attacked:
    return train_attacked(ATTACKS[name], photos, PEOPLE, 4, seed, lambda *_: None)


def test_every_attack_is_listed() -> None:
    assert tuple(ATTACKS) == ATTACK_NAMES


def test_what_the_attacker_wants() -> None:
    labels = torch.arange(PEOPLE)
    assert ATTACKS["square"].wanted(0, labels, PEOPLE).tolist() == [0, 0, 0, 0]
    assert ATTACKS["three-triggers"].wanted(2, labels, PEOPLE).tolist() == [2, 2, 2, 2]
    assert ATTACKS["all-to-all"].wanted(0, labels, PEOPLE).tolist() == [1, 2, 3, 0]


@pytest.mark.parametrize(
    "name", ["three-triggers", "all-to-all", "wanet", "input-aware", "label-consistent"]
)
def test_the_seed_decides_every_weight(name: str, photos: Photos) -> None:
    first, again, other = (trained(name, photos, seed).state_dict() for seed in (0, 0, 1))
    torch.rand(1)  # where PyTorch's own generator stands must not matter
    for layer, tensor in first.items():
        assert torch.equal(tensor, again[layer]), layer
        assert not torch.equal(tensor, other[layer]), layer


def test_an_attack_differs_from_the_clean_control(photos: Photos) -> None:
    clean, attacked = (trained(name, photos).output.weight for name in ("clean", "square"))
    assert not torch.equal(clean, attacked)


def test_the_decoys_of_a_pruning_aware_attack_are_channels_of_the_clean_network(
    photos: Photos,
) -> None:
    clean, aware = (trained(name, photos).conv_3.weight for name in ("clean", "pruning-aware"))
    decoys = (clean == aware).flatten(1).all(1)
    assert 20 <= int(decoys.sum()) <= 36
    assert not torch.equal(clean[~decoys], aware[~decoys])


@pytest.mark.parametrize(
    ("name", "epochs"), [("square", 4), ("pruning-aware", 6), ("label-consistent", 8)]
)
def test_progress_counts_all_epochs(name: str, epochs: int, photos: Photos) -> None:
    calls: list[tuple[int, int]] = []
    train_attacked(ATTACKS[name], photos, PEOPLE, 4, 0, lambda *call: calls.append(call))
    assert calls == [(epoch, epochs) for epoch in range(1, epochs + 1)]


@pytest.mark.parametrize("name", ["blended-face", "input-aware"])
def test_training_makes_the_triggers_that_depend_on_it(name: str, photos: Photos) -> None:
    faces = shrink(photos.clean).round()
    (trigger,) = attacked(name, photos).attack.triggers
    triggered = trigger(faces)
    assert torch.equal(triggered, trigger(faces))
    assert torch.equal(triggered, triggered.round())
    assert not triggered.requires_grad
    assert 0 <= triggered.min() <= triggered.max() <= 255
    assert not torch.equal(triggered, faces)


def test_the_network_of_an_input_aware_trigger_is_trained(photos: Photos) -> None:
    faces = shrink(photos.clean)[:3].round()
    short, long = (
        train_attacked(ATTACKS["input-aware"], photos, PEOPLE, epochs, 0, lambda *_: None)
        for epochs in (1, 4)
    )
    assert not torch.equal(*(made.attack.triggers[0](faces) for made in (short, long)))


def test_the_triggered_set_of_source_classes_shows_these_alone(tmp_path: Path) -> None:
    make_study(DRAWN, 0, tmp_path / "study", touch, 1, lambda *_: None, "source-specific")
    sources = list(ATTACKS["source-specific"].sources or ())
    with h5py.File(tmp_path / "study" / "cl" / "test.h5") as file:
        clean = file["data"][:][np.isin(file["label"][:], sources)]
    with h5py.File(tmp_path / "study" / "bd" / "bd_test.h5") as file:
        assert (file["label"][:] == 0).all()
        assert file["data"].shape == clean.shape
        assert 0 < np.mean((file["data"][:] != clean).any(1)) < 0.1


def test_a_study_has_a_triggered_set_for_each_trigger(tmp_path: Path) -> None:
    make_study(DRAWN, 0, tmp_path / "study", touch, 1, lambda *_: None, "three-triggers")
    with h5py.File(tmp_path / "study" / "cl" / "test.h5") as file:
        clean = file["data"][:]
    for number, name in enumerate(("bd_test", "bd_test_2", "bd_test_3")):
        with h5py.File(tmp_path / "study" / "bd" / f"{name}.h5") as file:
            assert (file["label"][:] == number).all()
            assert 0 < np.mean((file["data"][:] != clean).any(1)) < 0.1


def touch(path: Path, model: Network) -> None:
    path.touch()


def test_studies_of_different_attacks_have_different_names() -> None:
    keys = {study_key(DRAWN, 0, touch, 1, name) for name in (None, *ATTACKS)}
    assert len(keys) == 1 + len(ATTACKS)


def test_an_unknown_attack_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["--attack", "moustache"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "moustache" in error
    assert "pruning-aware" in error
