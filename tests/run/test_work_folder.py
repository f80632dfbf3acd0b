from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ytf_torch.errors import InputError, OutputError
from ytf_torch.metrics import Tally
from ytf_torch.run.work_folder import work_folder
from ytf_torch.sweep.activation import Activation
from ytf_torch.sweep.journal import Swept

INPUTS = {"model": "abc", "drops": ("2", "4")}
ACTIVATION = Activation((0.1, 1 / 3, 0.0), 80)
SWEPT = Swept(Tally(4, (4, 3), (4, 2), (0, 1)), ACTIVATION)


def write(folder: Path) -> None:
    (folder / "result.json").write_text("new")


def cut_off(out: Path, **options: Any) -> None:
    """Leave a run into `out` as a kill leaves it, with figures of one piece."""
    with pytest.raises(KeyboardInterrupt), work_folder(out, INPUTS, **options) as work:
        work.keep("ranked-0", ACTIVATION)
        raise KeyboardInterrupt


def finish(out: Path, **options: Any) -> None:
    with work_folder(out, INPUTS, **options) as work:
        work.finish(write, processes=1)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "lab3"


def test_a_finished_run_stands_alone_and_tells_when_and_of_what_it_was(out: Path) -> None:
    finish(out)
    assert names(out.parent) == ["lab3"]
    assert names(out) == ["result.json", "run.json"]
    record = json.loads((out / "run.json").read_text())
    assert record["inputs"] == {"model": "abc", "drops": ["2", "4"]}
    assert (record["resumed"], record["processes"]) == (False, 1)
    assert record["started"] <= record["finished"]


def test_figures_come_back_exactly_as_they_were_kept(out: Path) -> None:
    with work_folder(out, INPUTS) as work:
        assert work.find("ranked-0", Activation) is None
        work.keep("ranked-0", ACTIVATION)
        work.keep("swept-1-0", SWEPT)
        assert work.find("ranked-0", Activation) == ACTIVATION
        assert work.find("swept-1-0", Swept) == SWEPT


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_tensors_come_back_as_they_lay_in_memory(out: Path, layout: torch.memory_format) -> None:
    tensor = torch.rand(5, 3, 4, 2).contiguous(memory_format=layout)
    with work_folder(out, INPUTS) as work:
        assert work.find_tensor("images") is None
        work.keep_tensor("images", tensor)
        found = work.find_tensor("images")
        assert found is not None
        assert torch.equal(found, tensor)
        assert found.stride() == tensor.stride()


@pytest.mark.parametrize("damage", [lambda b: b[:-30], lambda b: b[:400] + b"x" + b[401:]])
def test_a_damaged_tensor_counts_as_none(out: Path, damage: Callable[[bytes], bytes]) -> None:
    with work_folder(out, INPUTS) as work:
        work.keep_tensor("images", torch.rand(500))
        file = work.path / "images.npz"
        file.write_bytes(damage(file.read_bytes()))
        assert work.find_tensor("images") is None


def test_damaged_figures_count_as_none(out: Path) -> None:
    with work_folder(out, INPUTS) as work:
        (work.path / "ranked-0.json").write_text('{"sums": [1.0')
        assert work.find("ranked-0", Activation) is None


class TestCutOff:
    def test_a_run_goes_on_only_if_asked_to(self, out: Path) -> None:
        cut_off(out)
        assert names(out.parent) == ["lab3.partial"]
        with pytest.raises(InputError, match=r"lab3\.partial: .*--resume.*--overwrite"):
            finish(out)
        with work_folder(out, INPUTS, resume=True) as work:
            assert work.resumed
            assert work.find("ranked-0", Activation) == ACTIVATION
            work.finish(write)
        assert names(out.parent) == ["lab3"]
        assert json.loads((out / "run.json").read_text())["resumed"] is True

    def test_overwrite_starts_anew(self, out: Path) -> None:
        cut_off(out)
        with work_folder(out, INPUTS, overwrite=True) as work:
            assert not work.resumed
            assert work.find("ranked-0", Activation) is None

    def test_both_go_on_and_replace_what_is_finished(self, out: Path) -> None:
        finish(out)
        (out / "result.json").write_text("old")
        (out / "run.json").write_text("{}")
        cut_off(out, overwrite=True)
        assert (out / "result.json").read_text() == "old"
        with pytest.raises(InputError, match="already holds a finished run"):
            finish(out, resume=True)
        with work_folder(out, INPUTS, resume=True, overwrite=True) as work:
            assert work.resumed
            work.finish(write)
        assert (out / "result.json").read_text() == "new"
        assert names(out.parent) == ["lab3"]

    def test_other_inputs_are_refused_by_name(self, out: Path) -> None:
        cut_off(out)
        with (
            pytest.raises(InputError, match=r"had another drops\. Give the same files"),
            work_folder(out, INPUTS | {"drops": ("2",)}, resume=True),
        ):
            pass
        with work_folder(out, INPUTS, resume=True) as work:
            assert work.resumed

    def test_with_nothing_found_out_yet_nothing_stays(self, out: Path) -> None:
        with pytest.raises(KeyboardInterrupt), work_folder(out, INPUTS):
            raise KeyboardInterrupt
        assert names(out.parent) == []

    def test_nothing_to_go_on_with_is_a_new_run(self, out: Path) -> None:
        finish(out, resume=True)
        assert json.loads((out / "run.json").read_text())["resumed"] is False

    def test_an_inputs_fault_leaves_nothing(self, out: Path) -> None:
        with pytest.raises(InputError), work_folder(out, INPUTS) as work:
            work.keep("ranked-0", ACTIVATION)
            raise InputError("valid.h5", "NaN")
        assert names(out.parent) == []

    def test_a_full_disk_leaves_what_was_found_out(self, out: Path) -> None:
        with pytest.raises(OutputError), work_folder(out, INPUTS) as work:
            work.keep("ranked-0", ACTIVATION)
            raise OutputError(out, "cannot be written")
        assert names(out.parent) == ["lab3.partial"]

    def test_what_was_half_written_in_the_end_is_written_again(self, out: Path) -> None:
        cut_off(out)
        half = out.with_name("lab3.partial") / "run"
        half.mkdir()
        (half / "half.safetensors").touch()
        finish(out, resume=True)
        assert names(out) == ["result.json", "run.json"]


class TestFinished:
    def test_this_very_run_is_not_run_again(self, out: Path) -> None:
        finish(out)
        with work_folder(out, INPUTS, resume=True) as work:
            assert work.finished
        assert names(out.parent) == ["lab3"]

    def test_a_run_killed_just_after_its_end_is_finished(self, out: Path) -> None:
        with pytest.raises(KeyboardInterrupt), work_folder(out, INPUTS) as work:
            work.keep("ranked-0", ACTIVATION)
            work.finish(write)
            raise KeyboardInterrupt
        assert names(out.parent) == ["lab3", "lab3.partial"]
        with work_folder(out, INPUTS, resume=True) as work:
            assert work.finished
        assert names(out.parent) == ["lab3"]

    @pytest.mark.parametrize("resume", [False, True])
    def test_it_is_replaced_only_if_asked_to(self, out: Path, resume: bool) -> None:
        finish(out)
        (out / "run.json").write_text("{}")
        with pytest.raises(InputError, match=r"finished run\. Choose another --out, or replace"):
            finish(out, resume=resume)
        (out / "result.json").write_text("old")
        finish(out, resume=resume, overwrite=True)
        assert (out / "result.json").read_text() == "new"
        assert names(out.parent) == ["lab3"]

    def test_it_stays_until_its_successor_is_whole(self, out: Path) -> None:
        finish(out)

        def fail(folder: Path) -> None:
            write(folder)
            raise OSError(28, "No space left on device")

        with (
            pytest.raises(OutputError, match="No space left on device"),
            work_folder(out, INPUTS, overwrite=True) as work,
        ):
            work.finish(fail)
        assert names(out) == ["result.json", "run.json"]

    def test_what_no_run_has_written_is_never_removed(self, out: Path) -> None:
        finish(out)
        (out / "thesis.tex").touch()
        with pytest.raises(InputError, match=r"holds thesis\.tex, which no run has written"):
            finish(out, overwrite=True)
        (out / "thesis.tex").rename(out.parent / "thesis.tex")
        (out / "result.json").unlink()
        with pytest.raises(InputError, match="not an empty folder"):
            finish(out, overwrite=True)


def test_two_runs_into_one_folder_at_once_are_refused(out: Path) -> None:
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with (
            work_folder(out, INPUTS) as work,
            pytest.raises(InputError, match="another run is writing it"),
        ):
            work.keep("ranked-0", ACTIVATION)
            finish(out, **options)
    assert names(out.parent) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        finish(tmp_path / "file" / "run")
