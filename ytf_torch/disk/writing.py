"""The one door through which outputs are written: whole, or not at all, and never over something
that is not an earlier output."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ytf_torch.errors import InputError, argument, mismatch, unwritable

# What helps where a folder is taken.
ELSEWHERE = f"Choose another {argument('out')}"

# How the names of files begin that are not whole yet. It has no part of the name they are to
# have, which may be as long as a name can be.
TEMPORARY = ".ytf-torch."
# A run's folder to work in where OUT cannot be replaced and nothing of the run may lie next to it;
# and what a new file system holds before anybody has written to it.
WORK_INSIDE = "ytf-torch.partial"
NOT_CONTENT = (WORK_INSIDE, "lost+found")
KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def what_is_at(path: Path) -> str:
    """What lies at a path, links not followed: a file, a folder, nothing and so on, in words.

    Raises OutputError where that cannot be determined.
    """
    try:
        return KINDS.get(stat.S_IFMT(path.lstat().st_mode), "something unknown")
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error


def resolved(path: Path) -> Path:
    """`path` without links, from the root. Raises OutputError where links lead in a circle or
    into a folder that may not be entered."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise unwritable(path, error) from error


def check_target(path: Path) -> None:
    """Raises InputError unless an output file may be written at `path`: where nothing is, or a
    file. A link, a pipe or a device would be replaced, and not be written to.

    Raises OutputError where there is no folder for it, or nothing may be written there.
    """
    if str(path) == "-":
        raise mismatch(path, "the name of a file", "-", "./- is a file of that name")
    found = what_is_at(path)
    if found not in ("a file", "nothing"):
        raise mismatch(path, "a file to write", found, "Choose another name")
    if found == "a file" and not os.access(path, os.W_OK):
        raise InputError(path, "is protected against writing", "Choose another name")
    if not path.parent.is_dir():
        raise unwritable(path, FileNotFoundError(errno.ENOENT, f"there is no folder {path.parent}"))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise unwritable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def check_outside(folder: Path, files: Iterable[Path]) -> None:
    """Raises InputError for a file that lies in a folder which is going to be replaced."""
    inside = resolved(folder)
    for file in files:
        if resolved(file).is_relative_to(inside):
            remedy = f"{ELSEWHERE}, or move the file"
            raise InputError(file, f"lies in {folder}, which is going to be written", remedy)


def is_mount_point(path: Path) -> bool:
    """Whether another file system, or another folder, is mounted there, as a container's volume is:
    then no folder can be renamed to `path`."""
    if what_is_at(path) != "a folder":
        return False
    if os.path.ismount(path):
        return True
    # Bind mounts of the same file system are listed by Linux alone.
    try:
        table = Path("/proc/self/mountinfo").read_bytes() if sys.platform == "linux" else b""
    except OSError:
        return False
    mounted = (line.split()[4] for line in table.splitlines())
    return os.fsencode(resolved(path)) in map(_unescaped, mounted)


def _unescaped(field: bytes) -> bytes:
    """A field of mountinfo, in which spaces and the like are octal numbers."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)


def content_of(folder: Path) -> list[str]:
    """The names in a folder, sorted, but for those that a mount point may hold and still be
    free."""
    names = sorted(path.name for path in folder.iterdir())
    if not any(name in NOT_CONTENT for name in names) or not is_mount_point(folder):
        return names
    return [name for name in names if name not in NOT_CONTENT]


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary neighbour of `path` to write to; it becomes `path` when the block succeeds.

    An existing file is replaced in one step. durable: wait until the disk has it. Raises
    InputError where there is something else than a file, OutputError where it cannot be written.

    >>> with whole_file(Path("notes.txt")) as temporary:
    ...     temporary.write_text("written whole, or not at all")
    28
    >>> Path("notes.txt").read_text()
    'written whole, or not at all'
    """
    check_target(path)
    try:
        handle, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
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


def check_folder_name(path: Path) -> None:
    """Raises InputError where `path` ends in no name that a new folder could have: /, . or .., of
    which none can be replaced."""
    if path.name in ("", ".."):
        raise InputError(path, "expected the name of a new folder", ELSEWHERE)


def check_run_folder_is_free(path: Path) -> None:
    """Raises InputError where `path` is there already and is not an empty folder, or is no name."""
    check_folder_name(path)
    found = what_is_at(path)
    if found == "nothing":
        return
    if found != "a folder":
        raise mismatch(path, "a new folder", found, ELSEWHERE)
    try:
        free = not content_of(path)
    except OSError as error:
        raise unwritable(path, error) from error
    if what_is_at(path / "result.json") != "nothing":
        raise InputError(path, "already holds a finished run", f"{ELSEWHERE}, or remove it")
    if not free:
        raise InputError(path, "already exists and is not an empty folder", ELSEWHERE)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary neighbour of `path` to fill; it becomes `path` when the block succeeds. Where
    `path` is a mount point it lies inside, and what is in it moves up.

    Raises InputError where `path` is there already, see check_run_folder_is_free; OutputError
    where it cannot be written.
    """
    check_run_folder_is_free(path)
    inside = is_mount_point(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=path if inside else path.parent))
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield temporary
        for file in temporary.rglob("*"):
            sync(file)
        if inside:
            for content in temporary.iterdir():
                content.replace(path / content.name)
        else:
            open_to_others(temporary)
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


def open_to_others(folder: Path) -> None:
    """Give a folder that was made for this user alone the mode of any new folder."""
    folder.chmod(0o777 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
