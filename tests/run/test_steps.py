"""Steps of a run, each stored as a complete folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ytf_torch.errors import InputError
from ytf_torch.run.resume import work_folder
from ytf_torch.run.steps import step
from ytf_torch.run.work_folder import WorkFolder


class StoppedHereError(Exception):
    pass


def making(content: bytes, calls: list[str]) -> Callable[[Path], dict[str, Any]]:
    """A step that writes two files, one of them empty and one in a subfolder."""

    def make(folder: Path) -> dict[str, Any]:
        calls.append(folder.name)
        (folder / "below").mkdir(parents=True)
        (folder / "below" / "result.json").write_bytes(content)
        (folder / "report.html").touch()
        return {"figure": 1.5}

    return make


@pytest.fixture
def cut_off(tmp_path: Path) -> Path:
    """OUT of a run that was interrupted after its first step."""
    with pytest.raises(StoppedHereError), work_folder(tmp_path / "out", {}) as work:
        step(work, "scan", making(b"once", []))
        raise StoppedHereError
    return tmp_path / "out"


@pytest.fixture
def resumed(cut_off: Path) -> Iterator[WorkFolder]:
    with work_folder(cut_off, {}, resume=True) as work:
        yield work


def test_a_step_that_is_kept_is_not_done_again(resumed: WorkFolder, tmp_path: Path) -> None:
    calls: list[str] = []
    found = step(resumed, "scan", making(b"again", calls))
    assert (calls, found.record) == ([], {"figure": 1.5})
    assert found.files == {"below/result.json": b"once", "report.html": b""}
    found.write(tmp_path / "written")
    assert (tmp_path / "written" / "below" / "result.json").read_bytes() == b"once"


@pytest.mark.parametrize("name", ["scan-0.json", "scan-file-0.npz"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"PK")])
def test_a_step_of_which_anything_is_damaged_is_done_again(
    name: str, damage: Callable[[Path], object], resumed: WorkFolder
) -> None:
    damage(resumed.path / name)
    calls: list[str] = []
    assert step(resumed, "scan", making(b"again", calls)).files["below/result.json"] == b"again"
    assert calls == ["scan"]


def test_nothing_is_kept_of_a_step_that_fails(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        folder.mkdir()
        (folder / "result.json").touch()
        raise InputError("valid.h5", "damaged")

    with pytest.raises(InputError), work_folder(tmp_path / "out", {}) as work:
        step(work, "scan", fail)
    assert list(tmp_path.iterdir()) == []
