"""Errors of a worker process, sent as JSON and raised again."""

from __future__ import annotations

import errno
import json

import pytest

from ytf_torch.commands.endings import tell
from ytf_torch.disk.confined import ReaderKilledError
from ytf_torch.errors import CannotRepairError, InputError, OutputError, argument
from ytf_torch.run.sent_errors import error_of, error_record


class OtherPackagesError(CannotRepairError):
    pass


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def sent(error: Exception) -> Exception:
    return error_of(json.loads(json.dumps(error_record(raised(error)))))


@pytest.mark.parametrize(
    "error",
    [
        InputError("valid.h5", "no labels", f"See {argument('clean_valid')}"),
        CannotRepairError("valid.h5", "nothing to offer"),
        OutputError("out", "cannot be written (No space left on device)"),
        ReaderKilledError("valid.h5", "the process that read it was killed (SIGKILL)"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "valid.h5"),
        OSError(errno.ENOSPC, "No space left on device"),
        MemoryError(),
        RecursionError("maximum recursion depth exceeded"),
        ValueError("no such\nvalue"),
        OSError("without a number"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_line_and_exit_status_are_those_of_the_error_itself(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = [(tell(one), capsys.readouterr().err) for one in (raised(error), sent(error))]
    assert ends[0] == ends[1]
    assert ends[0][1].startswith("error: ")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InputError("a", "b"), InputError),
        (OutputError("a", "b"), OutputError),
        (OtherPackagesError("a", "b"), CannotRepairError),
        (FileNotFoundError(errno.ENOENT, "x", "y"), FileNotFoundError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError),
    ],
)
def test_kinds_that_callers_tell_apart_are_kept(error: Exception, kind: type[Exception]) -> None:
    assert type(sent(error)) is kind


def test_python_shows_where_it_was_raised() -> None:
    (note,) = sent(ValueError("no such value")).__notes__
    assert note.startswith("In a worker process:\nTraceback")
    assert "test_sent_errors.py" in note
