"""Finds the Python executable for child processes, and blocks signals that are not for them.

`sys.executable` is not always a Python: in programs that embed it (uWSGI, R's reticulate, Blender)
it is that program, empty, or a path that does not exist.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ytf_torch.errors import mismatch

PYTHON = re.compile(r"(python|pypy|graalpy)[\d.w]*t?(\.exe)?", re.IGNORECASE)


def python_command() -> tuple[str, dict[str, str]]:
    """A Python executable of this process's version, and the environment variables with which it
    imports the same packages as this process.

    Raises InputError if there is none.
    """
    executable = sys.executable or ""
    if _is_python(Path(executable)):
        return executable, {}
    for candidate in _candidates():
        if _is_python(candidate):
            return str(candidate), {"PYTHONPATH": os.pathsep.join(filter(os.path.isabs, sys.path))}
    raise mismatch(
        "sys.executable",
        "a Python, which is started to read files",
        executable or "nothing",
        f"Set it to a Python {sys.version_info.major}.{sys.version_info.minor} before files are "
        "read",
    )


def _is_python(path: Path) -> bool:
    return bool(PYTHON.fullmatch(path.name)) and path.is_file() and os.access(path, os.X_OK)


def _candidates() -> Iterator[Path]:
    """Paths where a Python may be: the virtual environment's before the base installation's."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for prefix in dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix)):
        yield from (Path(prefix) / "bin" / name, Path(prefix) / "Scripts" / "python.exe")
        yield Path(prefix) / "python.exe"
    yield Path(getattr(sys, "_base_executable", None) or "")


@contextmanager
def signals_blocked(*names: str) -> Iterator[None]:
    """Block signals within this block; a process or thread that is started in it inherits the mask.
    On Windows, which has no masks, it does nothing.

    Terminals, batch systems and service managers send these signals to all processes of a run. The
    parent handles them; a child that died first would surface as an unreadable file, for example.
    """
    if sys.platform == "win32":
        yield
        return
    numbers = [signal.Signals[name] for name in names]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
