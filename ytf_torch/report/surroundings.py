"""Import matplotlib independently of its environment.

On import, matplotlib reads a file `matplotlibrc` in the working folder, which may be untrusted, and
a backend from MPLBACKEND, which notebooks set for their child processes. In a process that runs a
command of this package, neither is read. In any other process, matplotlib's settings belong to the
caller, and end up as they would be without this package.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BACKEND, SETTINGS = "MPLBACKEND", "MATPLOTLIBRC"


class Process:
    """This process. ours: whether it only runs a command of this package."""

    ours = False


@contextmanager
def importing_matplotlib() -> Iterator[None]:
    """Import matplotlib within this context; it has no effect if matplotlib is already loaded."""
    if "matplotlib" in sys.modules:
        yield
    elif Process.ours:
        # Without this it warns on standard error if the home folder is read-only.
        logging.getLogger("matplotlib").setLevel(logging.CRITICAL)
        with _environment_variables({BACKEND: "agg", SETTINGS: os.devnull}), _in_package_folder():
            yield
    else:
        backend = os.environ.get(BACKEND)
        # An unknown backend name makes the import fail, such as a notebook's backend where no
        # notebook package is installed. No backend is needed here, so it is set afterwards.
        with _environment_variables({BACKEND: None}):
            yield
        if backend:
            with suppress(ValueError):
                sys.modules["matplotlib"].rcParams["backend"] = backend


@contextmanager
def _environment_variables(values: dict[str, str | None]) -> Iterator[None]:
    """Set environment variables within this context; None unsets one."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def _in_package_folder() -> Iterator[None]:
    """Change to this package's folder: matplotlib looks for settings in the working folder."""
    try:
        before = Path.cwd()
    except OSError:  # it was deleted, so it contains no settings
        yield
        return
    os.chdir(Path(__file__).parent)
    try:
        yield
    finally:
        os.chdir(before)
