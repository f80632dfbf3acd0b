"""Standard output and error that never end a run: closed, full, without a reader, or ASCII only."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import TextIO

# How signs that we print look where there is only ASCII, or Windows's cp1252.
PLAIN = {"′": "'", "×": "x", "–": "-", "…": "...", "→": "->", "Δ": "d", "≥": ">=", "·": "*"}
ERRORS = "ytf_torch.plain"


class Stream(io.TextIOWrapper):
    """A standard stream. Once it cannot be written, what is printed to it is dropped.

    failure: why it could not be written, None where it could.
    """

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        """Print, or drop."""
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Print what waits, or drop it."""
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        self.failure = self.failure or error
        # What is still in a buffer has to go somewhere, or Python fails when it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def open_streams() -> tuple[Stream, Stream]:
    """Make sys.stdout and sys.stderr such streams; they are returned."""
    codecs.register_error(ERRORS, _plainly)
    # Files that are opened later would get the number of a closed stream, and what libraries
    # print with it.
    closed = [number for number in (0, 1, 2) if not _is_open(number)]
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)
    out, err = (_stream(old, number) for number, old in ((1, sys.stdout), (2, sys.stderr)))
    for number, stream in ((1, out), (2, err)):
        if number in closed:
            stream.failure = OSError(errno.EBADF, os.strerror(errno.EBADF))
    sys.stdout, sys.stderr = out, err
    return out, err


def _stream(old: TextIO | None, number: int) -> Stream:
    if not isinstance(old, io.TextIOWrapper):
        return Stream(io.FileIO(number, "w", closefd=False), errors=ERRORS, write_through=True)
    encoding, lines, through = old.encoding, old.line_buffering, old.write_through
    return Stream(old.detach(), encoding, ERRORS, line_buffering=lines, write_through=through)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _plainly(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    escaped = (sign.encode("ascii", "backslashreplace").decode() for sign in signs)
    return "".join(map(lambda s, e: PLAIN.get(s, e), signs, escaped)), error.end
