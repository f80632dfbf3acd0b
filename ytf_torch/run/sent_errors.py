"""Errors of a worker process as JSON, from which its parent raises them again.

They are not pickled: nothing in this package is.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ytf_torch.disk.confined import ReaderKilledError
from ytf_torch.errors import (
    CannotRepairError,
    InputError,
    OutputError,
    WorkerFaultError,
    is_out_of_memory,
)

KINDS: Mapping[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        *(InputError, CannotRepairError, OutputError, ReaderKilledError),
        *(OSError, MemoryError, RecursionError, WorkerFaultError),
    )
}


def error_record(error: Exception) -> dict[str, Any]:
    """An error as JSON: the name of one of KINDS, the error's arguments, and its traceback."""
    kind, arguments = _kind_and_arguments(error)
    trace = "".join(traceback.format_exception(error))
    return {"kind": kind.__name__, "arguments": arguments, "traceback": trace}


def error_of(record: Mapping[str, Any]) -> Exception:
    """The error of an `error_record`. Python shows the traceback of the worker as a note."""
    error = KINDS[record["kind"]](*record["arguments"])
    error.add_note(f"In a worker process:\n{record['traceback']}")
    return error


def _kind_and_arguments(error: Exception) -> tuple[type[Exception], list[Any]]:
    if isinstance(error, InputError):
        # Another package's method may raise a subclass of its own.
        return next(kind for kind in type(error).__mro__ if kind in KINDS.values()), [*error.args]
    if is_out_of_memory(error):
        return MemoryError, []
    if isinstance(error, RecursionError):
        return RecursionError, [str(error)]
    if isinstance(error, OSError):
        numbered = [error.errno, error.strerror, _text(error.filename)]
        return OSError, [str(error)] if error.errno is None else numbered
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown place"
    return WorkerFaultError, [f"{type(error).__name__}: {error}", place]


def _text(filename: object) -> str | None:
    return None if filename is None else str(filename)
