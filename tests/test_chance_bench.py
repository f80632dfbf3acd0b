"""The bench of chance rates: what networks say that never saw a trigger."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.chance import Measured, Study, measure, table
from benchmarks.face_folder import study_of_folder
from tests.images.test_pairing import photos
from ytf_torch.demo.faces import write_faces


def of(trigger: str, network: str, star: float, robust: float = 50.0) -> Measured:
    return Measured(trigger, network, 40, star, robust)


def test_a_row_leaves_out_the_triggers_own_network() -> None:
    measured = [
        of("scarf", "scarf", 100.0, 1.0),
        of("scarf", "light", 3.0, 40.0),
        of("scarf", "bpp", 1.0, 60.0),
        of("scarf", "clean", 2.0, 45.0),
    ]
    (row,) = table(measured).splitlines()[-1:]
    assert row == "| scarf | 40 | 100.0 | 3 | 2.0 | 1.0 | 3.0 | light | 45.0 |"


def test_the_trigger_with_the_highest_median_comes_first() -> None:
    names = ("scarf", "light")
    measured = [of(trigger, trigger, 99.0) for trigger in names]
    measured += [of("scarf", "light", 1.0), of("light", "scarf", 7.0)]
    assert [line[:9] for line in table(measured).splitlines()[-2:]] == ["| light |", "| scarf |"]


def test_a_trigger_without_other_networks_has_no_row() -> None:
    assert table([of("scarf", "scarf", 99.0)]).endswith("|--:|\n\n")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    faces = tmp_path / "3 people"
    (faces / "cl").mkdir(parents=True)
    for name in ("train", "valid", "test"):
        write_faces(faces / "cl" / f"{name}.h5", photos((3, 55, 47), 1, 24), torch.arange(24) % 3)
    return Study.of(study_of_folder(faces, "square", 0, 1, tmp_path))


def test_a_study_is_opened_by_its_name_and_evaluated(study: Study) -> None:
    assert study.name == "3 people-square-0"
    measured = measure(study, study)
    assert (measured.trigger, measured.network, measured.people) == (study.name, study.name, 3)
    assert 0 <= measured.attack_success_rate_without_target <= 100
    assert 0 <= measured.robust_accuracy <= 100
