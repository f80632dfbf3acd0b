"""What commands check of the paths they were given, before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ytf_torch.disk.writing import check_target, resolved
from ytf_torch.errors import InputError


def check_paths_differ(written: Sequence[Path | None], read: Sequence[Path | None]) -> None:
    """Raises InputError where a file cannot be written to, or any two paths lead to one file.

    written: the output first. None stands for what was not given.
    """
    targets = [path for path in written if path is not None]
    for path in targets:
        check_target(path)
    used = [resolved(path) for path in (*targets, *read) if path is not None]
    if len(set(used)) != len(used):
        raise InputError(targets[0], "the same path is given twice", "Choose another -o or --json")
