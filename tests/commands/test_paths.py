"""Checks of paths; every command with --json makes them before it computes anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.commands.test_evaluate import evaluate
from tests.commands.test_export import export
from ytf_torch.commands.paths import check_paths
from ytf_torch.errors import InputError

REMEDY = "Choose another -o or --json"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "b.h5").write_bytes(b"of great value")
    (tmp_path / "folder").mkdir()
    return tmp_path / "b.h5"


@pytest.mark.parametrize("written", ["b.h5", "folder/../b.h5", "./b.h5"])
def test_what_is_read_is_never_written_over(model: Path, written: str) -> None:
    with pytest.raises(InputError, match="given twice") as error:
        check_paths([None, model.parent / written], [model, None])
    assert str(model.parent / written) in str(error.value)


def test_two_files_are_not_written_to_one_place(model: Path) -> None:
    new = model.with_name("new")
    with pytest.raises(InputError, match="given twice"):
        check_paths([new, new], [model])


def test_one_file_may_be_read_twice(model: Path) -> None:
    check_paths([model.with_name("new")], [model, model])


def test_a_missing_file_is_missing_and_not_unwritable(model: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        check_paths([], [model.with_name("none.h5")])


def test_a_folder_that_is_not_there_is_named(model: Path) -> None:
    with pytest.raises(InputError, match=f"there is no folder {model.parent}/none"):
        check_paths([model.parent / "none" / "found.json"], [model])


@pytest.mark.parametrize("command", [evaluate, export])
def test_a_report_takes_no_inputs_place(command, tmp_path: Path, keras_file: Path) -> None:
    before = keras_file.read_bytes()
    photo = tmp_path / "face.png"
    photo.write_bytes(b"of great value")
    given = [photo] if command is evaluate else ["-o", tmp_path / "new.h5"]
    for place in (keras_file, *given[-1:]):
        result = command(keras_file, *given, "--json", place)
        assert result.exit_code == 2
        assert result.stderr == f"error: {place}: the same path is given twice. {REMEDY}\n"
    assert keras_file.read_bytes() == before
    assert photo.read_bytes() == b"of great value"
    assert not (tmp_path / "new.h5").exists()


@pytest.mark.parametrize("place", ["pipe", "link", "none/found.json", "-", "folder"])
def test_a_report_that_cannot_be_written_stops_before_anything_else(
    place: str, tmp_path: Path, keras_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("link").symlink_to("elsewhere")
    Path("folder").mkdir()
    before = sorted(tmp_path.iterdir())
    for result in (
        evaluate(keras_file, keras_file, "--json", place),
        export(keras_file, "-o", "new.h5", "--json", place),
    ):
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        assert place in result.stderr
    assert sorted(tmp_path.iterdir()) == before
