from __future__ import annotations

import os
from pathlib import Path

import pytest

from ytf_torch.images.input_files import Unreadable, input_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """photos/: 2.png, 10.JPG, faces.h5, notes.txt, a hidden file, and a folder `more` of c.webp."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name in ("2.png", "10.JPG", "faces.h5", "notes.txt", "._2.png", "more/c.webp"):
        (folder / name).touch()
    return folder


def test_folders_are_walked_in_order_of_names(folder: Path) -> None:
    named = folder.parent / "named.txt"
    found = list(input_files([named, folder]))
    names = ["10.JPG", "2.png", "faces.h5", "more/c.webp"]
    assert found == [named, *(folder / name for name in names)]


def test_links_inside_a_folder_are_not_followed(folder: Path) -> None:
    before = list(input_files([folder]))
    (folder / "a.png").symlink_to(".")
    (folder / "more" / "up").symlink_to("..")
    (folder / "b.png").symlink_to("2.png")
    assert list(input_files([folder])) == before


def test_a_link_given_by_the_user_is_followed(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    assert len(list(input_files([folder.parent / "link"]))) == 4


@pytest.mark.parametrize("name", ["notes.txt", ".hidden.png", "photo"])
def test_a_folder_without_photos_is_unreadable(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (found,) = input_files([tmp_path])
    assert isinstance(found, Unreadable)
    assert "holds no photo" in found.reason


def test_a_folder_of_too_many_files_is_unreadable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ytf_torch.images.input_files.MAX_ENTRIES", 3)
    (found,) = input_files([folder])
    assert isinstance(found, Unreadable)
    assert "over 3 files and folders" in found.reason


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_an_unreadable_folder_is_reported_and_the_others_are_walked(folder: Path) -> None:
    (folder / "more").chmod(0)
    *found, locked = input_files([folder])
    assert len(found) == 3
    assert isinstance(locked, Unreadable)
    assert "Permission denied" in locked.reason
