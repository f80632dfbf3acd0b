"""The lock of a folder in which a run works; it goes with the process that holds it, however that
ends.

People have folders of such names too: only one with our lock file in it is taken for ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ytf_torch.disk.writing import ELSEWHERE, check_run_folder_is_free, what_is_at
from ytf_torch.errors import InputError, unwritable
from ytf_torch.run.places import work_path

# The first file in a work folder. A folder without it is taken for somebody else's.
LOCK = "ytf-torch.lock"
# In a work folder: the name of the filled folder in it whose files are moving up into OUT, where
# that is a mount point.
MOVING = "ytf-torch.moving"


@contextmanager
def locked(out: Path, path: Path) -> Iterator[None]:
    """OUT.partial, `path`, for this process alone, made where it is not there.

    Raises InputError where it is no run's, or another process works there; OutputError where
    nothing can be written.
    """
    check_is_ours(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise _in_use(out) from error
    except (OSError, NotImplementedError) as error:
        raise unwritable(out, error) from error
    try:
        yield
    finally:
        lock.release()


def check_out(out: Path) -> None:
    """Raises InputError where OUT is taken already, or another process is writing it: what
    `locked` would find out later, before anything heavy is loaded."""
    out = out.absolute()
    path = work_path(out)
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
    """Raises InputError where OUT.partial is there and no run has made it."""
    found = what_is_at(path)
    ours = found == "nothing"
    if found == "a folder":
        try:
            ours = not any(path.iterdir()) or what_is_at(path / LOCK) == "a file"
        except OSError as error:
            raise unwritable(path, error) from error
    if not ours:
        problem = f"is {found} that no run has made, and where this one would work"
        raise InputError(path, problem, f"{ELSEWHERE}, or move it")
