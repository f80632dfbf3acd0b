from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ytf_torch.disk.writing import check_target, what_is_at, whole_file, whole_folder
from ytf_torch.errors import InputError
from ytf_torch.run.places import check_inputs_are_elsewhere


def test_a_file_appears_once_the_block_succeeds(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    with whole_file(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    with pytest.raises(KeyError), whole_file(target) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_appears_complete(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "deep" / "run") as folder:
        (folder / "result.json").write_text("{}")
        assert not (tmp_path / "deep" / "run").exists()
    assert (tmp_path / "deep" / "run" / "result.json").read_text() == "{}"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run"]


def test_a_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), whole_folder(tmp_path / "run") as folder:
        (folder / "result.json").write_text("{}")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(InputError, match="already holds a finished run"), whole_folder(tmp_path):
        pass
    assert (tmp_path / "result.json").read_text() == "{}"


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="not an empty folder"), whole_folder(tmp_path):
        pass


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with whole_folder(tmp_path / "run") as folder:
        (folder / "a").touch()
    assert (tmp_path / "run" / "a").exists()


@pytest.mark.parametrize("name", [".", "", "..", "/", "run/.."])
def test_a_path_that_names_no_new_folder_is_refused_before_anything_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(InputError, match="expected the name of a new folder"),
        whole_folder(Path(name)),
    ):
        pytest.fail("the block is never entered")
    with pytest.raises(InputError, match="expected the name of a new folder"):
        check_inputs_are_elsewhere(Path(name), [])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_parent_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"), whole_file(tmp_path / "no" / "f"):
        pass


def test_the_longest_name_that_a_file_can_have(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    with whole_file(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_outputs_get_the_permissions_of_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with whole_file(tmp_path / "f") as temporary:
            assert temporary.stat().st_mode & 0o777 == 0o600
        with whole_folder(tmp_path / "run"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o777 & ~mask


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(path))


def make_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


def make_link(path: Path) -> None:
    path.symlink_to("other.txt")


PLACES: dict[str, Callable[[Path], None]] = {
    "a pipe": make_fifo,
    "a socket": make_socket,
    "a device": make_device,
    "a link": make_link,
    "a folder": Path.mkdir,
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other kinds of files")
@pytest.mark.parametrize("kind", PLACES)
def test_only_regular_files_are_replaced(tmp_path: Path, kind: str) -> None:
    (tmp_path / "other.txt").write_text("precious")
    place = tmp_path / "o"
    PLACES[kind](place)
    expected = f"o: expected a file to write, found {kind}"
    with pytest.raises(InputError, match=expected), whole_file(place):
        pass
    assert what_is_at(place) == kind
    assert (tmp_path / "other.txt").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o", "other.txt"]


def test_a_hyphen_is_not_a_file_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"expected the name of a file, found -\. \./-"):
        check_target(Path("-"))


def test_what_is_at_an_impossible_path(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    assert what_is_at(tmp_path / "f" / "g") == "nothing"
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(InputError, match="cannot be written"):
            what_is_at(tmp_path / name)
