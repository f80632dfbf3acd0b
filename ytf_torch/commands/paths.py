"""What commands check of the paths they were given, before anything is read."""

from __future__ import annotations

from pathlib import Path

from ytf_torch.errors import InputError, mismatch


def check_paths_differ(target: Path, *others: Path) -> None:
    """Raises InputError where the file to write is a folder, or any two paths lead to one file."""
    try:
        used = [path.resolve() for path in (target, *others)]
    except (OSError, RuntimeError) as error:  # pathlib's way to tell of a link to itself
        raise InputError(others[0], f"cannot be read ({error})") from error
    if len(set(used)) != len(used):
        raise InputError(target, "the same path is given twice", "Choose another -o or --json")
    if target.is_dir():
        raise mismatch(target, "a file to write", "a folder")
