"""The one door through which outputs are written: whole, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ytf_torch.errors import InputError, unwritable

# Dates and machine of a run, in its folder.
RECORD = "run.json"


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary neighbour of `path` to write to; it becomes `path` when the block succeeds.

    An existing file is replaced in one step. durable: wait until the disk has it. Raises
    OutputError where it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if durable:
            sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_run_folder_is_free(path: Path) -> None:
    """Raises InputError where `path` is there already and is not an empty folder."""
    try:
        free = not any(path.iterdir()) if path.is_dir() else not os.path.lexists(path)
        finished = (path / "result.json").exists()
    except OSError as error:
        raise unwritable(path, error) from error
    if finished:
        raise InputError(path, "already holds a finished run", "Choose another --out, or remove it")
    if not free:
        raise InputError(path, "already exists and is not an empty folder", "Choose another --out")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary neighbour of `path` to fill; it becomes `path` when the block succeeds.

    Raises InputError where `path` is there already (see check_run_folder_is_free) or cannot be
    written.
    """
    check_run_folder_is_free(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield temporary
        for file in temporary.rglob("*"):
            sync(file)
        temporary.chmod(0o777 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync(path: Path) -> None:
    """Have the disk keep a file, or the names in a folder, even if the machine stops now."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
