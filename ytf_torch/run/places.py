"""The folders that a run writes: OUT, and until it is complete OUT.partial next to it."""

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
    """The work folder OUT.partial; inside OUT if that is a mount point.

    A folder cannot be renamed to a mount point, and next to it may be another file system, such as
    a container's own. Raises InputError where OUT cannot name a new folder, such as / or `a/..`.
    """
    check_folder_name(out)
    if is_mount_point(out):
        return out / WORK_INSIDE
    return out.with_name(f"{out.name}.partial")


def check_inputs_are_elsewhere(out: Path, files: Iterable[Path]) -> None:
    """Raises InputError for an input that lies in OUT or OUT.partial, where it could be deleted,
    for an OUT inside an image folder, and where OUT cannot name a new folder."""
    check_folder_name(out)
    inputs = list(files)
    for folder in (out.absolute(), work_path(out.absolute())):
        check_outside(folder, inputs)
    for path in inputs:
        if path.is_dir() and resolved(out).is_relative_to(resolved(path)):
            problem = f"lies in {path}, whose folders are read as classes"
            raise InputError(out, problem, ELSEWHERE)
