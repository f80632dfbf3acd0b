from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ytf_torch.errors import InputError, OutputError, WrongSettingError
from ytf_torch.metrics import Tally
from ytf_torch.run.lock import check_out
from ytf_torch.run.places import check_inputs_are_elsewhere
from ytf_torch.run.resume import filled_folder, work_folder
from ytf_torch.sweep.activation import Activation
from ytf_torch.sweep.journal import Swept

INPUTS = {"model": "abc", "drops": ("2", "4")}
ACTIVATION = Activation((0.1, 1 / 3, 0.0), 80)
SWEPT = Swept(Tally(4, (4, 3), (4, 2), (0, 1)), ACTIVATION)


def write(folder: Path) -> None:
    (folder / "result.json").write_text("new")


def write_with_plots(folder: Path) -> None:
    write(folder)
    (folder / "plots").mkdir()
    (folder / "plots" / "sweep.png").touch()


def cut_off(out: Path, **options: Any) -> None:
    """Leave a run into `out` as a killed process would, with the results of one piece."""
    with pytest.raises(KeyboardInterrupt), work_folder(out, INPUTS, **options) as work:
        work.keep("ranked-0", ACTIVATION)
        raise KeyboardInterrupt


def finish(out: Path, **options: Any) -> None:
    with work_folder(out, INPUTS, **options) as work:
        work.finish(write, processes=1)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def partial(out: Path) -> Path:
    return out.with_name(f"{out.name}.partial")


def below(folder: Path) -> dict[str, str]:
    """The content of every file in a folder, by path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


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


def test_records_come_back_as_they_were_kept(out: Path) -> None:
    with work_folder(out, INPUTS) as work:
        assert work.find_record("fine-tuning-0") is None
        work.keep_record("fine-tuning-0", {"attack_success_rate": 1 / 3})
        assert work.find_record("fine-tuning-0") == {"attack_success_rate": 1 / 3}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"method": "clp"}', '{"record": {"a": 1}}'])
def test_a_damaged_record_counts_as_none(out: Path, text: str) -> None:
    with pytest.raises(KeyboardInterrupt), work_folder(out, INPUTS) as work:
        work.keep_record("clp-0", {"a": 1})
        (partial(out) / "clp-0.json").write_text(text)
        assert work.find_record("clp-0") is None
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["thesis", "../x-0", "inputs", "Thesis-0", "a/b-0"])
def test_pieces_have_names_by_which_they_are_known_again(out: Path, name: str) -> None:
    with work_folder(out, INPUTS) as work, pytest.raises(ValueError, match="a final number"):
        work.keep_record(name, {})


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_tensors_come_back_as_they_lay_in_memory(out: Path, layout: torch.memory_format) -> None:
    tensor = torch.rand(5, 3, 4, 2).contiguous(memory_format=layout)
    with work_folder(out, INPUTS) as work:
        assert work.find_tensor("images-0") is None
        work.keep_tensor("images-0-5", tensor)
        found = work.find_tensor("images-0-5")
        assert found is not None
        assert torch.equal(found, tensor)
        assert found.stride() == tensor.stride()


@pytest.mark.parametrize(
    "damage",
    [lambda b: b"", lambda b: b[:40], lambda b: b[:-30], lambda b: b[:400] + b"x" + b[401:]],
)
def test_a_damaged_tensor_counts_as_none(out: Path, damage: Callable[[bytes], bytes]) -> None:
    with work_folder(out, INPUTS) as work:
        work.keep_tensor("images-0", torch.rand(500))
        (file,) = work.path.glob("images*")
        file.write_bytes(damage(file.read_bytes()))
        assert work.find_tensor("images-0") is None


@pytest.mark.parametrize("text", ["", '{"sums": [1.0', "[" * 10**6, "{}", "\0" * 300])
def test_damaged_figures_count_as_none(out: Path, text: str) -> None:
    with work_folder(out, INPUTS) as work:
        work.keep("ranked-0", ACTIVATION)
        (file,) = work.path.glob("ranked-0*")
        file.write_text(text)
        assert work.find("ranked-0", Activation) is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[" * 10**6, '{"started": 3, "inp', '{"inputs": []}', '{"inputs": 3}', "{}", "null"],
)
def test_a_run_whose_inputs_are_unreadable_is_begun_anew(out: Path, text: str) -> None:
    cut_off(out)
    (partial(out) / "inputs.json").write_text(text)
    with work_folder(out, INPUTS, resume=True) as work:
        assert not work.resumed
        assert work.find("ranked-0", Activation) is None


class TestCutOff:
    def test_a_run_goes_on_only_if_asked_to(self, out: Path) -> None:
        cut_off(out)
        assert names(out.parent) == ["lab3.partial"]
        with pytest.raises(InputError, match=r"lab3\.partial: .*`resume`.*`overwrite`"):
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
        with work_folder(out, INPUTS | {"model": "another"}) as work:
            work.finish(write)
        (out / "result.json").write_text("old")
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
            pytest.raises(InputError, match=r"with different drops\. Give the same files"),
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

    def test_an_inputs_fault_leaves_what_was_found_out_and_says_so(self, out: Path) -> None:
        line = r"valid\.h5: NaN\. Finished pieces stay in .*lab3\.partial: `resume` continues from"
        with pytest.raises(InputError, match=line), work_folder(out, INPUTS) as work:
            work.keep("ranked-0", ACTIVATION)
            raise InputError("valid.h5", "NaN")
        assert names(out.parent) == ["lab3.partial"]
        with work_folder(out, INPUTS, resume=True) as work:
            assert work.find("ranked-0", Activation) == ACTIVATION

    def test_an_inputs_fault_before_anything_was_found_out_leaves_nothing(self, out: Path) -> None:
        with pytest.raises(InputError, match=r"NaN$"), work_folder(out, INPUTS):
            raise InputError("valid.h5", "NaN")
        assert names(out.parent) == []

    def test_what_was_found_out_with_a_wrong_setting_is_of_no_use(self, out: Path) -> None:
        with pytest.raises(WrongSettingError, match=r"scale 1$"), work_folder(out, INPUTS) as work:
            work.keep("ranked-0", ACTIVATION)
            raise WrongSettingError("valid.h5", "another scale", "Give scale 1")
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

    def test_its_record_names_its_files(self, out: Path) -> None:
        with work_folder(out, INPUTS) as work:
            work.finish(write_with_plots)
        record = json.loads((out / "run.json").read_text())
        assert record["files"] == ["plots/sweep.png", "result.json"]
        finish(out, overwrite=True)
        assert names(out) == ["result.json", "run.json"]

    @pytest.mark.parametrize("resume", [False, True])
    def test_it_is_replaced_only_if_asked_to(self, out: Path, resume: bool) -> None:
        with work_folder(out, INPUTS | {"model": "another"}) as work:
            work.finish(write)
        with pytest.raises(InputError, match=r"finished run\. Choose another `out`, or replace"):
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

    @pytest.mark.parametrize("name", ["thesis.tex", "pruned_drop_notes.txt", "data/faces.h5"])
    def test_what_no_run_has_written_is_never_removed(self, out: Path, name: str) -> None:
        finish(out)
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("precious")
        before = below(out)
        with pytest.raises(InputError, match=f"holds {name}, which no run has written"):
            finish(out, overwrite=True)
        assert below(out) == before
        assert names(out.parent) == ["lab3"]

    def test_what_comes_into_it_while_it_is_replaced_is_not_removed(self, out: Path) -> None:
        finish(out)
        with work_folder(out, INPUTS, overwrite=True) as work:
            (out / "thesis.tex").write_text("precious")
            work.finish(write)
        assert "precious" in below(out.parent).values()
        assert names(out) == ["result.json", "run.json"]

    def test_a_folder_that_only_looks_like_one_is_never_removed(self, out: Path) -> None:
        out.mkdir(parents=True)
        (out / "result.json").write_text("somebody else's")
        for record in ("", "{}", "[]", '{"inputs": 3}', '{"inputs": {}, "files": "all"}'):
            (out / "run.json").write_text(record)
            with pytest.raises(InputError):
                finish(out, overwrite=True)
        assert (out / "result.json").read_text() == "somebody else's"

    def test_a_record_names_no_files_elsewhere(self, out: Path) -> None:
        finish(out)
        (out.parent / "thesis.tex").write_text("precious")
        (out / "run.json").write_text('{"inputs": {}, "files": ["result.json", "../thesis.tex"]}')
        finish(out, overwrite=True)
        assert (out.parent / "thesis.tex").read_text() == "precious"

    def test_cut_off_between_the_old_and_the_new_neither_is_lost(self, out: Path) -> None:
        finish(out)
        (out / "result.json").write_text("old")
        cut_off(out, overwrite=True)
        out.rename(partial(out) / "replaced")
        with pytest.raises(InputError, match="already holds a finished run"):
            finish(out)
        assert (out / "result.json").read_text() == "old"
        finish(out, overwrite=True)
        assert (out / "result.json").read_text() == "new"
        assert names(out.parent) == ["lab3"]


class TestFoldersOfOthers:
    """A user may have files of his own at OUT.partial and OUT."""

    @pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
    @pytest.mark.parametrize("name", ["lab3", "lab3.partial"])
    def test_a_folder_that_no_run_has_made_is_left_alone(
        self, out: Path, name: str, options: dict[str, bool]
    ) -> None:
        own = out.with_name(name)
        for file in ("chapters/1.tex", "inputs.json", "ranked-0.json", "lock"):
            (own / file).parent.mkdir(parents=True, exist_ok=True)
            (own / file).write_text("precious")
        before = below(out.parent)
        with pytest.raises(InputError, match=rf"{name}: .*Choose another"):
            finish(out, **options)
        assert below(out.parent) == before

    @pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
    @pytest.mark.parametrize("name", ["lab3", "lab3.partial"])
    @pytest.mark.parametrize("target", ["diary", "nowhere", "lab3"])
    def test_links_are_not_followed(
        self, out: Path, name: str, target: str, options: dict[str, bool]
    ) -> None:
        (out.parent / "diary").mkdir(parents=True)
        (out.parent / "diary" / "1.txt").write_text("precious")
        out.with_name(name).symlink_to(target)
        with pytest.raises(InputError, match=rf"{name}: .*a link"):
            finish(out, **options)
        assert names(out.parent) == sorted(["diary", name])
        assert below(out.parent / "diary") == {"1.txt": "precious"}

    def test_links_in_a_work_folder_are_not_followed(self, out: Path) -> None:
        (out.parent / "diary").mkdir(parents=True)
        (out.parent / "diary" / "1.txt").write_text("precious")
        cut_off(out)
        for name in ("run", "replaced", "swept-0.json"):
            (partial(out) / name).symlink_to(out.parent / "diary")
        with work_folder(out, INPUTS, overwrite=True):
            pass
        assert below(out.parent / "diary") == {"1.txt": "precious"}

    def test_a_file_of_others_in_a_work_folder_stays(self, out: Path) -> None:
        cut_off(out)
        (partial(out) / "thesis.json").write_text("precious")
        finish(out, resume=True)
        assert (out / "result.json").read_text() == "new"
        assert below(partial(out)) == {"thesis.json": "precious"}

    @pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
    @pytest.mark.parametrize("name", ["run/thesis.tex", "run/a/b.txt", "replaced/thesis.tex"])
    def test_a_file_of_others_in_a_folder_that_a_run_was_filling_stays(
        self, out: Path, name: str, options: dict[str, bool]
    ) -> None:
        finish(out)
        with pytest.raises(KeyboardInterrupt), work_folder(out, INPUTS, overwrite=True):
            raise KeyboardInterrupt
        partial(out).mkdir()
        (partial(out) / "ytf-torch.lock").touch()
        file = partial(out) / name
        file.parent.mkdir(parents=True)
        file.write_text("precious")
        (partial(out) / "run").mkdir(exist_ok=True)
        (partial(out) / "run" / "report.html").write_text("half")
        finish(out, **{"overwrite": True, **options})
        assert (out / "result.json").read_text() == "new"
        assert below(partial(out)) == {name: "precious"}
        assert names(out) == ["result.json", "run.json"]

    def test_a_file_of_others_that_comes_in_while_a_run_fills_its_folder_is_not_the_runs(
        self, out: Path
    ) -> None:
        def write_beside_another(folder: Path) -> None:
            write(folder)
            (folder / "thesis.tex").write_text("precious")

        with work_folder(out, INPUTS) as work:
            work.finish(write_beside_another)
        with pytest.raises(InputError, match=r"thesis\.tex, which no run has written"):
            finish(out, overwrite=True)
        assert (out / "thesis.tex").read_text() == "precious"

    def test_a_file_in_the_place_of_the_work_folder(self, out: Path) -> None:
        out.parent.mkdir()
        partial(out).write_text("precious")
        with pytest.raises(InputError, match=r"lab3\.partial: is a file that no run has made"):
            finish(out)
        assert below(out.parent) == {"lab3.partial": "precious"}

    def test_an_empty_folder_is_anybodys(self, out: Path) -> None:
        partial(out).mkdir(parents=True)
        out.mkdir()
        finish(out)
        assert names(out.parent) == ["lab3"]


@pytest.mark.parametrize("inside", ["lab3", "lab3.partial", "lab3/deep/er", "link"])
def test_inputs_in_folders_that_are_written_are_refused(out: Path, inside: str) -> None:
    out.mkdir(parents=True)
    (out.parent / "link").symlink_to("lab3")
    file = out.parent / inside / "net.h5"
    with pytest.raises(InputError, match=r"net\.h5: lies in .*lab3.*Choose another `out`"):
        check_inputs_are_elsewhere(out, [out.parent / "faces.h5", file])
    check_inputs_are_elsewhere(out, [out.parent / "lab3.h5", out.parent / "lab30" / "net.h5"])


@pytest.mark.parametrize("name", ["/", "a/..", "o" * 300, "o" * 250, "o/" * 3000, "a\0b", "."])
def test_names_that_cannot_be_are_one_line(
    out: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.mkdir(parents=True)
    (out / "thesis.tex").touch()
    monkeypatch.chdir(out)
    with pytest.raises(InputError):
        finish(Path(name))
    assert names(out) == ["thesis.tex"]


def test_two_runs_into_one_folder_at_once_are_refused(out: Path) -> None:
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with (
            work_folder(out, INPUTS) as work,
            pytest.raises(InputError, match="another run is writing it"),
        ):
            work.keep("ranked-0", ACTIVATION)
            finish(out, **options)
    assert names(out.parent) == []


class TestChanged:
    """An image set that is replaced while a run reads it."""

    @pytest.fixture
    def faces(self, tmp_path: Path) -> Path:
        (tmp_path / "valid.h5").write_text("faces")
        return tmp_path / "valid.h5"

    def inputs(self, faces: Path) -> dict[str, Any]:
        status = faces.stat()
        facts = {"path": str(faces), "bytes": status.st_size, "modified": status.st_mtime_ns}
        return {"model": "abc", "clean_valid": [facts], "drops": ["2"]}

    @pytest.mark.parametrize("act", ["keep", "keep_record", "finish"])
    def test_nothing_that_may_be_of_the_new_one_is_kept(
        self, out: Path, faces: Path, act: str
    ) -> None:
        inputs = self.inputs(faces)
        line = r"valid\.h5: was replaced or changed while the run was reading it.*run it again"
        with pytest.raises(InputError, match=line), work_folder(out, inputs) as work:
            work.keep("ranked-0", ACTIVATION)
            faces.write_text("other faces")
            if act == "keep":
                work.keep("swept-0-0", SWEPT)
            elif act == "keep_record":
                work.keep_record("clp-0", {"a": 1})
            else:
                work.finish(write)
        assert not out.exists()
        assert {path.name for path in partial(out).glob("*-0*")} == {"ranked-0.json"}

    def test_nor_is_a_folder_filled_from_it(self, out: Path, faces: Path) -> None:
        with (
            pytest.raises(InputError, match="was replaced or changed"),
            filled_folder(out, self.inputs(faces)) as folder,
        ):
            write(folder)
            os.utime(faces, ns=(0, 0))
        assert names(out.parent) == []

    def test_one_that_is_gone_is_said(self, out: Path, faces: Path) -> None:
        with (
            pytest.raises(InputError, match=r"valid\.h5: cannot be read \(No such file"),
            work_folder(out, self.inputs(faces)) as work,
        ):
            faces.unlink()
            work.finish(write)


class TestFilledFolder:
    """The folder that ytf-repair and ytf-scan fill; such runs cannot be resumed."""

    def test_it_becomes_out(self, out: Path) -> None:
        with filled_folder(out, {}) as folder:
            assert folder.parent == partial(out)
            write(folder)
        assert names(out.parent) == ["lab3"]
        assert names(out) == ["result.json"]

    def test_a_failure_leaves_nothing(self, out: Path) -> None:
        with pytest.raises(InputError), filled_folder(out, {}) as folder:
            write(folder)
            raise InputError("valid.h5", "NaN")
        assert names(out.parent) == []

    def test_what_a_killed_one_has_left_goes_with_the_next(self, out: Path) -> None:
        (partial(out) / "run").mkdir(parents=True)
        (partial(out) / "ytf-torch.lock").touch()
        for name in ("repaired.safetensors", "result.json", ".ytf-torch.x3"):
            (partial(out) / "run" / name).touch()
        with filled_folder(out, {}) as folder:
            write(folder)
        assert names(out.parent) == ["lab3"]

    def test_a_second_one_is_refused_at_once(self, out: Path) -> None:
        with filled_folder(out, {}) as folder:
            for second in (check_out, lambda out: filled_folder(out, {}).__enter__()):
                with pytest.raises(InputError, match="another run is writing it"):
                    second(out)
            write(folder)
        assert names(out) == ["result.json"]
        with pytest.raises(InputError, match="already holds a finished run"):
            check_out(out)

    def test_what_a_run_can_go_on_with_stays(self, out: Path) -> None:
        cut_off(out)
        before = below(out.parent)
        with (
            pytest.raises(InputError, match=r"lab3\.partial: holds results .*Choose another"),
            filled_folder(out, {}),
        ):
            pass
        assert below(out.parent) == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        finish(tmp_path / "file" / "run")
