"""The lock on a work folder, held by one process.

It is a lock of the operating system on an open file (flock on Unix), which is released when the
process ends, even by a crash or SIGKILL. No stale lock has to be detected.

Users may have a folder named OUT.partial of their own: only a folder that contains our lock file
is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ytf_torch.disk.writing import ELSEWHERE, check_run_folder_is_free, what_is_at
from ytf_torch.errors import InputError, unwritable
from ytf_torch.run.places import work_path

# The first file created in a work folder. A non-empty folder without it is not ours.
LOCK = "ytf-torch.lock"
# While files are moved up into OUT, a mount point: a file that contains the name of the folder they
# come from.
MOVING = "ytf-torch.moving"


@contextmanager
def locked(out: Path, path: Path) -> Iterator[None]:
    """Hold the exclusive lock on OUT.partial, `path`; it is created if missing.

    Raises InputError where a folder of that name is not ours, or another process holds the lock;
    OutputError where nothing can be written.
    """
    check_is_ours(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK, timeout=0)  # fails instead of waiting for the other run
        lock.acquire()
    except Timeout as error:
        raise _in_use(out) from error
    except (OSError, NotImplementedError) as error:  # the latter on file systems without flock
        raise unwritable(out, error) from error
    try:
        yield
    finally:
        lock.release()


def check_out(out: Path) -> None:
    """Raises InputError where OUT is taken, or another process is writing it.

    For an early error, before heavy libraries are loaded; `locked` checks again.
    """
    out = out.absolute()
    path = work_path(out)
    # With MOVING there, OUT holds some files of an interrupted move, which the run will complete.
    if what_is_at(path / MOVING) == "nothing":
        check_run_folder_is_free(out)
    check_is_ours(path)
    if what_is_at(path / LOCK) == "a file":
        try:
            with FileLock(path / LOCK, timeout=0):
                pass
        except Timeout as error:
            raise _in_use(out) from error
        except (OSError, NotImplementedError) as error:
            raise unwritable(out, error) from error


def _in_use(out: Path) -> InputError:
    problem = "another run is writing it at this moment"
    return InputError(out, problem, f"{ELSEWHERE}, or wait for it")


def check_is_ours(path: Path) -> None:
    """Raises InputError where OUT.partial exists, is not empty, and no run has made it."""
    kind = what_is_at(path)
    ours = kind == "nothing"
    if kind == "a folder":
        try:
            ours = not any(path.iterdir()) or what_is_at(path / LOCK) == "a file"
        except OSError as error:
            raise unwritable(path, error) from error
    if not ours:
        problem = f"is {kind} that no run has made, at the path of this run's work folder"
        raise InputError(path, problem, f"{ELSEWHERE}, or move it")
