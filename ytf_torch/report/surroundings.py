"""What importing matplotlib reads of its surroundings: settings that are not ours.

It takes a file `matplotlibrc` of the working folder, perhaps a stranger's, and a backend from
MPLBACKEND, which notebooks set for whatever they start. In a process of ours it reads nothing; in
somebody else's its settings are theirs, and stay as they would be without us.
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
    """This process. ours: whether it runs a command of this package, and nothing else."""

    ours = False


@contextmanager
def importing_matplotlib() -> Iterator[None]:
    """While this lasts matplotlib may be imported for the first time."""
    if "matplotlib" in sys.modules:
        yield
    elif Process.ours:
        # It would say on standard error that a home folder cannot be written.
        logging.getLogger("matplotlib").setLevel(logging.CRITICAL)
        with _variables({BACKEND: "agg", SETTINGS: os.devnull}), _away():
            yield
    else:
        wanted = os.environ.get(BACKEND)
        # A name that it does not know, such as that of a notebook's backend in an environment
        # without notebooks, would keep it from being imported; no backend is needed here.
        with _variables({BACKEND: None}):
            yield
        if wanted:
            with suppress(ValueError):
                sys.modules["matplotlib"].rcParams["backend"] = wanted


@contextmanager
def _variables(values: dict[str, str | None]) -> Iterator[None]:
    """Environment variables of these values; without those that are None."""
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
def _away() -> Iterator[None]:
    """In another working folder, one of ours: matplotlib looks for settings in the one it is in."""
    try:
        before = Path.cwd()
    except OSError:  # it is gone, and so is whatever was in it
        yield
        return
    os.chdir(Path(__file__).parent)
    try:
        yield
    finally:
        os.chdir(before)
