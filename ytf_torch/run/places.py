"""Where a run writes: OUT in the end, and OUT.partial beside it until then."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ytf_torch.disk.writing import (
    ELSEWHERE,
    WORK_INSIDE,
    check_folder_name,
    check_outside,
    is_mount_point,
    resolved,
)
from ytf_torch.errors import InputError


def work_path(out: Path) -> Path:
    """OUT.partial, or a folder inside OUT where that is a mount point, which no folder can become.

    Raises InputError where OUT is no name for a folder: / or one that ends in .. for instance.
    """
    check_folder_name(out)
    if is_mount_point(out):
        return out / WORK_INSIDE
    return out.with_name(f"{out.name}.partial")


def check_inputs_are_elsewhere(out: Path, files: Iterable[Path]) -> None:
    """Raises InputError for an input of a run that lies in OUT or OUT.partial, where it could be
    removed, and where OUT is no name for a folder."""
    check_folder_name(out)
    given = list(files)
    for folder in (out.absolute(), work_path(out.absolute())):
        check_outside(folder, given)
    for path in given:
        if path.is_dir() and resolved(out).is_relative_to(resolved(path)):
            problem = f"lies in {path}, whose folders are read as classes"
            raise InputError(out, problem, ELSEWHERE)
