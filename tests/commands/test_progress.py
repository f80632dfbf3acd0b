"""Progress bars: each names the unit that it counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.made.badnet import MadeBadNet, made_badnet
from ytf_torch.commands.compare import app as compare
from ytf_torch.commands.terminal import progress_bars
from ytf_torch.defences.methods import DETECTORS, REPAIRS, SCANS, last_candidate
from ytf_torch.images.image_set import ImageSet
from ytf_torch.progress import branch


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
@pytest.mark.usefixtures("short_repairs")
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


@pytest.mark.usefixtures("terminal")
def test_each_of_several_running_repairs_keeps_its_one_bar(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ExitStack() as branches, progress_bars() as track:
        whole = track("comparing", 3, "repairs")
        first, second = (branches.enter_context(branch(track)) for _ in range(2))
        masks = second("anp: masks", 500, "iterations")
        masks(498)
        first("clp: ranking", 10)(10)
        sweep = first("clp: sweeping", 9)
        capsys.readouterr()
        masks(1)
        sweep(4)
        whole(1)
    drawn = plain(capsys.readouterr().err)
    assert re.search(r"comparing .* 1/3 repairs", drawn)
    assert re.search(r"clp: sweeping .* 4/9 faces", drawn)
    assert re.search(r"anp: masks .* 499/500 iterations", drawn)
    assert "ranking" not in drawn


@pytest.mark.usefixtures("terminal")
def test_the_bar_of_a_repair_goes_when_the_repair_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ExitStack() as branches, progress_bars() as track:
        track("comparing", 3, "repairs")
        branches.enter_context(branch(track))("anp: masks", 500)
        with branch(track) as repair:
            sweep = repair("clp: sweeping", 9)
            sweep(3)
        capsys.readouterr()
        sweep(1)  # told too late
    drawn = plain(capsys.readouterr().err)
    assert "0/500 faces" in drawn
    assert "sweeping" not in drawn


def test_a_track_without_branches_is_told_everything() -> None:
    units = Units()
    with branch(units) as track:
        track("sweeping", 9, "images")(3)
    assert units.of == {"sweeping": "images"}
