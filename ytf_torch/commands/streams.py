"""Robust standard output and error: a run continues if they are closed, full, without a reader, or
limited to ASCII."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import TextIO

# Replacements of our characters in encodings that lack them, such as ASCII or Windows's cp1252.
PLAIN = {"′": "'", "×": "x", "–": "-", "…": "...", "→": "->", "Δ": "d", "≥": ">=", "·": "*"}
ERRORS = "ytf_torch.plain"


class Stream(io.TextIOWrapper):
    """A standard stream. After a write fails, further output is discarded.

    failure: the first error of a write, None if there was none.
    """

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        """Write, or discard after a failure."""
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or discard after a failure."""
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        self.failure = self.failure or error
        # Python flushes the buffers again at exit and would fail: let them go to /dev/null.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def open_streams() -> tuple[Stream, Stream]:
    """Replace sys.stdout and sys.stderr by such streams, and return them."""
    codecs.register_error(ERRORS, _replace_unencodable)
    # If descriptor 1 or 2 is closed, the next opened file would get its number, and libraries that
    # print would write into that file. So closed descriptors are opened on /dev/null.
    closed = [number for number in (0, 1, 2) if not _is_open(number)]
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)
    out, err = (
        _stream(previous, number) for number, previous in ((1, sys.stdout), (2, sys.stderr))
    )
    for number, stream in ((1, out), (2, err)):
        if number in closed:
            stream.failure = OSError(errno.EBADF, os.strerror(errno.EBADF))
    sys.stdout, sys.stderr = out, err
    return out, err


def _stream(previous: TextIO | None, number: int) -> Stream:
    if not isinstance(previous, io.TextIOWrapper):
        return Stream(io.FileIO(number, "w", closefd=False), errors=ERRORS, write_through=True)
    encoding, line_buffering, write_through = (
        previous.encoding,
        previous.line_buffering,
        previous.write_through,
    )
    return Stream(
        previous.detach(),
        encoding,
        ERRORS,
        line_buffering=line_buffering,
        write_through=write_through,
    )


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    characters = error.object[error.start : error.end]
    escaped = (character.encode("ascii", "backslashreplace").decode() for character in characters)
    return "".join(map(lambda s, e: PLAIN.get(s, e), characters, escaped)), error.end
