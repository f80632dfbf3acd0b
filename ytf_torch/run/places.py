"""Where a run writes: OUT in the end, and OUT.partial beside it until then."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ytf_torch.disk.writing import ELSEWHERE, check_outside
from ytf_torch.errors import InputError


def work_path(out: Path) -> Path:
    """OUT.partial. Raises InputError where OUT is no name for a folder: / or one that ends in
    .. for instance."""
    if out.name in ("", ".."):
        raise InputError(out, "expected the name of a new folder", ELSEWHERE)
    return out.with_name(f"{out.name}.partial")


def check_inputs_are_elsewhere(out: Path, files: Iterable[Path]) -> None:
    """Raises InputError for an input of a run that lies in OUT or OUT.partial, where it could be
    removed."""
    given = list(files)
    for folder in (out.absolute(), work_path(out.absolute())):
        check_outside(folder, given)
