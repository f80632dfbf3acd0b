"""The bench trains BadNets of faces that are given in the lab's format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.face_folder import faces_in, study_of_folder
from tests.images.test_pairing import photos
from ytf_torch.convert import read_keras_model
from ytf_torch.demo.faces import write_faces
from ytf_torch.images.opening import open_images

PEOPLE, SHAPE = 3, (3, 55, 47)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "3 people"
    (folder / "cl").mkdir(parents=True)
    for seed, (name, count) in enumerate({"train": 24, "valid": 6, "test": 12}.items()):
        pixels = photos(SHAPE, seed, count)
        write_faces(folder / "cl" / f"{name}.h5", pixels, torch.arange(count) % PEOPLE)
    return folder


def test_faces_are_those_of_the_file(faces: Path) -> None:
    found = faces_in(faces / "cl" / "test.h5")
    assert torch.equal(found.clean, photos(SHAPE, 2, 12))
    assert found.people.tolist() == [0, 1, 2] * 4


@pytest.mark.parametrize(
    ("attack", "targets"), [("square", [0, 0, 0] * 4), ("all-to-all", [1, 2, 0] * 4)]
)
def test_a_study_is_a_badnet_of_these_faces_with_their_triggered_twins(
    faces: Path, tmp_path: Path, attack: str, targets: list[int]
) -> None:
    study = study_of_folder(faces, attack, 0, 1, tmp_path / "studies")
    network = read_keras_model(study / "models" / "bd_net.h5", 1.0).model
    assert network.classes == PEOPLE
    for name in ("valid", "test"):
        kept = (study / "cl" / f"{name}.h5").read_bytes()
        assert kept == (faces / "cl" / f"{name}.h5").read_bytes()
    clean = open_images(study / "cl" / "test.h5", SHAPE, PEOPLE)
    bd = open_images(study / "bd" / "bd_test.h5", SHAPE, PEOPLE)
    assert bd.labels.tolist() == targets
    assert bd.paired_with(clean).pairs == len(targets)


def test_a_study_is_trained_once(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = study_of_folder(faces, "square", 0, 1, tmp_path / "studies")
    assert "training square 0 on 24 faces of 3 people" in capsys.readouterr().out
    assert study_of_folder(faces, "square", 0, 1, tmp_path / "studies") == first
    assert capsys.readouterr().out == ""
    (faces / "cl" / "valid.h5").write_bytes((faces / "cl" / "test.h5").read_bytes())
    assert study_of_folder(faces, "square", 0, 1, tmp_path / "studies") != first
