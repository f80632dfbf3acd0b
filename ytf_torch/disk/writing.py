"""The only module through which outputs are written: atomically, and never over anything that is
not an earlier output.

Files and folders are written to a temporary neighbour, which is renamed when it is complete: a
reader, or a crash, sees the old output or the new one, never a part.
"""

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

# The remedy if an output folder cannot be used.
ELSEWHERE = f"Choose another {argument('out')}"

# Prefix of temporary names. The final name is not part of them: it may already be as long as the
# file system allows.
TEMPORARY = ".ytf-torch."
# Entries that a mount point may contain and still count as empty: a run's work folder, which must
# lie inside an OUT that cannot be replaced by renaming, and what mkfs creates.
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
    """What is at a path, without following links: "a file", "a folder", "nothing", ….

    Raises OutputError if that cannot be determined.
    """
    try:
        return KINDS.get(stat.S_IFMT(path.lstat().st_mode), "something unknown")
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error


def resolved(path: Path) -> Path:
    """`path` as an absolute path without links. Raises OutputError if links form a loop or lead
    into a folder that may not be entered."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise unwritable(path, error) from error


def check_target(path: Path) -> None:
    """Raises InputError unless `path` is a file or nothing.

    A link, a pipe or a device is refused, because renaming the temporary file would replace it
    instead of writing to it. Raises OutputError if the parent folder is missing or not writable.
    """
    if str(path) == "-":
        raise mismatch(path, "the name of a file", "-", "./- is a file of that name")
    occupant = what_is_at(path)
    if occupant not in ("a file", "nothing"):
        raise mismatch(path, "a file to write", occupant, "Choose another name")
    # Renaming over a read-only file would succeed, against its owner's intention.
    if occupant == "a file" and not os.access(path, os.W_OK):
        raise InputError(path, "is write-protected", "Choose another name")
    if not path.parent.is_dir():
        raise unwritable(path, FileNotFoundError(errno.ENOENT, f"there is no folder {path.parent}"))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise unwritable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def check_outside(folder: Path, files: Iterable[Path]) -> None:
    """Raises InputError for a file inside a folder that is about to be replaced."""
    inside = resolved(folder)
    for file in files:
        if resolved(file).is_relative_to(inside):
            remedy = f"{ELSEWHERE}, or move the file"
            raise InputError(file, f"lies in {folder}, which is about to be written", remedy)


def is_mount_point(path: Path) -> bool:
    """Whether a file system or a folder is mounted at `path`, as a container's volume is. No folder
    can be renamed to a mount point."""
    if what_is_at(path) != "a folder":
        return False
    if os.path.ismount(path):
        return True
    # os.path.ismount misses bind mounts of the same file system; Linux lists them here.
    try:
        table = Path("/proc/self/mountinfo").read_bytes() if sys.platform == "linux" else b""
    except OSError:
        return False
    mount_points = (line.split()[4] for line in table.splitlines())
    return os.fsencode(resolved(path)) in map(_unescaped, mount_points)


def _unescaped(field: bytes) -> bytes:
    r"""Decode a field of mountinfo, which escapes white space and backslashes as octal \040."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field)


def content_of(folder: Path) -> list[str]:
    """The sorted names in a folder. At a mount point, without those in NOT_CONTENT."""
    names = sorted(path.name for path in folder.iterdir())
    if not any(name in NOT_CONTENT for name in names) or not is_mount_point(folder):
        return names
    return [name for name in names if name not in NOT_CONTENT]


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary file next to `path` to write to; it is renamed to `path` if the block succeeds.

    An existing file is replaced atomically; after an error it is unchanged. durable: fsync before
    renaming. Raises InputError if something other than a file is at `path`, OutputError if it
    cannot be written.

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
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it private to the user
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_folder_name(path: Path) -> None:
    """Raises InputError if `path` does not end in a name that a new folder could have, as with /, .
    and .., none of which can be replaced."""
    if path.name in ("", ".."):
        raise InputError(path, "expected the name of a new folder", ELSEWHERE)


def check_run_folder_is_free(path: Path) -> None:
    """Raises InputError unless `path` names a new or an empty folder."""
    check_folder_name(path)
    occupant = what_is_at(path)
    if occupant == "nothing":
        return
    if occupant != "a folder":
        raise mismatch(path, "a new folder", occupant, ELSEWHERE)
    try:
        empty = not content_of(path)
    except OSError as error:
        raise unwritable(path, error) from error
    if what_is_at(path / "result.json") != "nothing":
        raise InputError(path, "already holds a finished run", f"{ELSEWHERE}, or remove it")
    if not empty:
        raise InputError(path, "already exists and is not an empty folder", ELSEWHERE)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder next to `path` to fill; it is renamed to `path` if the block succeeds.

    If `path` is a mount point, the temporary folder is inside it and its content is moved up.
    Raises InputError if `path` is not free (check_run_folder_is_free), OutputError if it cannot be
    written.
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
        # Before the rename: otherwise a crash could leave a complete name with incomplete files.
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
    """fsync a file, or a folder's list of names, so that it survives a power failure."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_to_others(folder: Path) -> None:
    """Give a folder made by mkdtemp, which is private to the user, the mode of a normal folder."""
    folder.chmod(0o777 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
