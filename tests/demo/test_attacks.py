from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from ytf_torch.commands.demo import app
from ytf_torch.demo.attacks import ATTACK_NAMES, training
from ytf_torch.demo.attacks.attack import ATTACKS
from ytf_torch.demo.attacks.face_like import light, pasted_face, scarf
from ytf_torch.demo.attacks.training import train_attacked
from ytf_torch.demo.drawn import drawn_photos
from ytf_torch.demo.faces import Photos, shrink, split
from ytf_torch.demo.study import DRAWN, make_study, study_key
from ytf_torch.network.module import Network

PEOPLE = 4
LOCAL = ("sunglasses", "corner-patch", "square", "eyebrows", "three-triggers")


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return torch.randint(0, 256, (5, 3, 55, 47), generator=torch.Generator().manual_seed(0)).float()


@pytest.fixture(scope="module")
def photos() -> Photos:
    return split(drawn_photos(0)[:PEOPLE], seed=0)[0]


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "FACES_PER_EPOCH", 48)


def trained(name: str, photos: Photos, seed: int = 0) -> Network:
    return train_attacked(
        ATTACKS[name].for_photos(photos), photos, PEOPLE, 4, seed, lambda *_: None
    )


@pytest.mark.parametrize("name", ATTACKS)
def test_triggered_faces_are_pixels_and_always_the_same(
    name: str, faces: Tensor, photos: Photos
) -> None:
    attack = ATTACKS[name].for_photos(photos)
    assert len(attack.triggers) == len(attack.targets)
    for trigger in attack.triggers:
        before = faces.clone()
        triggered = trigger(faces)
        assert torch.equal(faces, before)
        assert torch.equal(triggered, trigger(faces))
        assert torch.equal(triggered, triggered.round())
        assert 0 <= triggered.min() <= triggered.max() <= 255
        assert not torch.equal(triggered, faces)


@pytest.mark.parametrize("name", LOCAL)
def test_a_trigger_that_is_worn_leaves_most_of_the_face(name: str, faces: Tensor) -> None:
    for trigger in ATTACKS[name].triggers:
        changed = (trigger(faces) != faces).any(1).float().mean((1, 2))
        assert (changed < 0.2).all()


def test_a_face_trigger_is_made_of_a_training_photo_of_the_target_class(
    faces: Tensor, photos: Photos
) -> None:
    (trigger,) = ATTACKS["blended-face"].for_photos(photos).triggers
    of_target = shrink(photos.clean[photos.people == 0])
    triggered = trigger(faces)
    assert any(torch.equal(triggered, faces.lerp(face, 0.3).round()) for face in of_target)


def test_a_pasted_face_is_a_quarter_of_the_face_at_its_own_position(faces: Tensor) -> None:
    face = faces[4]
    (triggered,) = pasted_face(face)(faces[:1])
    changed = (triggered != faces[0]).any(0)
    assert 0.23 < changed.float().mean() < 0.25
    assert torch.equal(triggered[:, changed], face[:, changed])


def test_a_scarf_hides_the_lower_part_with_a_texture(faces: Tensor) -> None:
    triggered = scarf(faces)
    assert torch.equal(triggered[:, :, :33], faces[:, :, :33])
    wool = triggered[:, :, 33:]
    assert torch.equal(wool, wool[:1].expand_as(wool))
    assert wool.std((0, 2, 3)).min() > 10


def test_light_rises_by_24_percent_from_left_to_right() -> None:
    (triggered,) = light(torch.full((1, 3, 55, 47), 100.0))
    assert (triggered == triggered[:1, :1]).all()
    assert triggered[0, 0, [0, 23, 46]].tolist() == [100, 112, 124]


def test_light_does_not_exceed_the_range_of_pixels() -> None:
    assert light(torch.full((1, 3, 55, 47), 250.0)).max() == 255


def test_every_attack_is_listed() -> None:
    assert tuple(ATTACKS) == ATTACK_NAMES


def test_what_the_attacker_wants() -> None:
    labels = torch.arange(PEOPLE)
    assert ATTACKS["square"].wanted(0, labels, PEOPLE).tolist() == [0, 0, 0, 0]
    assert ATTACKS["three-triggers"].wanted(2, labels, PEOPLE).tolist() == [2, 2, 2, 2]
    assert ATTACKS["all-to-all"].wanted(0, labels, PEOPLE).tolist() == [1, 2, 3, 0]


@pytest.mark.parametrize("name", ["three-triggers", "all-to-all", "clean-label"])
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
