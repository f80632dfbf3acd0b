"""Which program starts a process of Python: not always the one that this process runs in.

uWSGI, R's reticulate, Blender and others hold Python inside; there sys.executable is that program,
empty, or gone.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ytf_torch.errors import mismatch

PYTHON = re.compile(r"(python|pypy|graalpy)[\d.w]*t?(\.exe)?", re.IGNORECASE)


def python_command() -> tuple[str, dict[str, str]]:
    """A Python of this process's version, and what to set for it in the environment so that it
    imports what this process does.

    Raises InputError where there is none.
    """
    own = sys.executable or ""
    if _is_python(Path(own)):
        return own, {}
    for found in _others():
        if _is_python(found):
            return str(found), {"PYTHONPATH": os.pathsep.join(filter(os.path.isabs, sys.path))}
    raise mismatch(
        "sys.executable",
        "a Python, which reads files in a process of its own",
        own or "nothing",
        f"Set it to a Python {sys.version_info.major}.{sys.version_info.minor} before files are "
        "read",
    )


def _is_python(path: Path) -> bool:
    return bool(PYTHON.fullmatch(path.name)) and path.is_file() and os.access(path, os.X_OK)


def _others() -> Iterator[Path]:
    """Where a Python would be, its environment's before the one that is installed."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for prefix in dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix)):
        yield from (Path(prefix) / "bin" / name, Path(prefix) / "Scripts" / "python.exe")
        yield Path(prefix) / "python.exe"
    yield Path(getattr(sys, "_base_executable", None) or "")
