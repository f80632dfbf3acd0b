"""Checks of a command's paths, before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ytf_torch.commands.replaced import check_replaceable
from ytf_torch.disk.reading import checked_source
from ytf_torch.disk.writing import check_target, resolved
from ytf_torch.errors import InputError


def check_paths(written: Sequence[Path | None], read: Sequence[Path | None]) -> None:
    """Raises InputError where a file cannot be read or written, or an output would overwrite an
    input, another output or a file that is no earlier output. None: the option was not given."""
    taken = {resolved(checked_source(path)) for path in read if path is not None}
    for path in written:
        if path is None:
            continue
        check_target(path)
        target = resolved(path)
        if target in taken:
            raise InputError(path, "the same path is given twice", "Choose another -o or --json")
        check_replaceable(path)
        taken.add(target)
