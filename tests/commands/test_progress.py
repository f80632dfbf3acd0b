"""Progress bars: each names the unit that it counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.made.badnet import MadeBadNet, made_badnet
from ytf_torch.commands.compare import app as compare
from ytf_torch.commands.terminal import progress_bars
from ytf_torch.defences.methods import DETECTORS, REPAIRS, SCANS, last_candidate
from ytf_torch.images.image_set import ImageSet


class Units:
    """A Track that records the unit and counts of each phase."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def __call__(self, phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        self.of[phase] = unit
        return lambda done: None


@pytest.fixture(scope="module")
def badnet() -> MadeBadNet:
    return made_badnet()


@pytest.fixture
def faces(badnet: MadeBadNet, tmp_path: Path) -> ImageSet:
    return badnet.clean_valid(tmp_path).part(0, 30)


SWEEP = {"ranking channels": "faces", "sweeping valid.h5": "faces"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "distillation",
            {"fine-tuning a second teacher": "faces", "distilling": "pictures"},
        ),
        ("fine-tuning", {"fine-tuning": "faces"}),
        ("ft-sam", {"fine-tuning (FT-SAM)": "faces"}),
        ("i-bau", {"unlearning (I-BAU)": "faces"}),
        ("clp", SWEEP),
        ("anp", {"learning masks (ANP)": "iterations", **SWEEP}),
        (
            "rnp",
            {"unlearning clean faces (RNP)": "faces", "learning masks (RNP)": "faces", **SWEEP},
        ),
    ],
)
@pytest.mark.slow
def test_repairs(name: str, expected: dict[str, str], badnet: MadeBadNet, faces: ImageSet) -> None:
    units = Units()
    last_candidate(REPAIRS[name](0), badnet.network, faces, units)
    assert units.of == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("last-layer", {}),
        ("mm-bd", {"maximising margins (MM-BD)": "classes"}),
        ("neural-cleanse", {"looking for triggers (Neural Cleanse)": "classes"}),
    ],
)
@pytest.mark.slow
def test_scans(name: str, expected: dict[str, str], badnet: MadeBadNet, faces: ImageSet) -> None:
    units = Units()
    SCANS[name].suspicions(badnet.network, faces, units)
    assert units.of == expected


def test_detectors(badnet: MadeBadNet, faces: ImageSet) -> None:
    units = Units()
    DETECTORS["badexpert"](badnet.network, faces, 0, units)
    assert units.of == {"training the expert (BaDExpert)": "faces"}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is a terminal, as wide as needed."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")


def plain(drawn: str) -> str:
    return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", " ", drawn).split())


@pytest.mark.usefixtures("terminal")
def test_a_bar_names_its_unit(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as track:
        track("comparing", 4, "repairs")(3)
        track("ranking", 10)(7)
    drawn = plain(capsys.readouterr().err)
    assert "3/4 repairs" in drawn
    assert "7/10 faces" in drawn
    assert "4 faces" not in drawn


@pytest.mark.usefixtures("terminal")
def test_bars_of_what_was_part_of_another_phase_go_with_its_next_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_bars() as track:
        whole = track("comparing", 2, "repairs")
        part = track("fine-tuning", 8)
        part(8)
        whole(1)
        capsys.readouterr()
        part(1)  # told too late, and of no bar any more
    drawn = plain(capsys.readouterr().err)
    assert "1/2 repairs" in drawn
    assert "fine-tuning" not in drawn


@pytest.mark.usefixtures("terminal")
def test_a_comparison_shows_what_goes_on_inside_a_repair(
    badnet: MadeBadNet, tmp_path: Path
) -> None:
    named = [str(word) for pair in badnet.files(tmp_path).items() for word in pair]
    words = [*named, "--out", str(tmp_path / "out"), "--methods", "i-bau", "--device", "cpu"]
    drawn = plain(CliRunner().invoke(compare, words).stderr)
    assert re.search(r"repairs .* 0/1 repairs", drawn)
    assert re.search(r"i-bau, seed 0: unlearning \(I-BAU\) .*/[\d,]+ faces", drawn)
