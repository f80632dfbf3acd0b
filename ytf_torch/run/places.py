"""Where a run writes: OUT in the end, and OUT.partial beside it until then."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ytf_torch.disk.writing import check_folder_name, check_outside


def work_path(out: Path) -> Path:
    """OUT.partial. Raises InputError where OUT is no name for a folder: / or one that ends in
    .. for instance."""
    check_folder_name(out)
    return out.with_name(f"{out.name}.partial")


def check_inputs_are_elsewhere(out: Path, files: Iterable[Path]) -> None:
    """Raises InputError for an input of a run that lies in OUT or OUT.partial, where it could be
    removed, and where OUT is no name for a folder."""
    check_folder_name(out)
    given = list(files)
    for folder in (out.absolute(), work_path(out.absolute())):
        check_outside(folder, given)
