"""The sandboxed program that parses untrusted files. confined.py starts it; a reader module parses
one kind of file.

Threat: a crafted file can drive the libraries that parse HDF5, photos and archives into endless
loops, huge allocations and crashes. Such bytes are therefore parsed only here, under limits on
memory and CPU time, in a process that can neither open nor write a file; only text and numbers
leave it. The process confines itself irrevocably before it receives the first file
(protections.py), and receives each file as a descriptor that its parent has opened. Whatever a
reader needs from disk, modules above all, must therefore be loaded when the reader is imported.

    python confinement.py hdf5_reader 5 6

Protocol: each request is a line of JSON on standard input, `[method, arguments]`. The first request
opens a file, the last one closes it. Each answer is a line of JSON on standard output. An array's
bytes follow the line, or lie in shared memory (here descriptor 6) if there is any and they fit.
Files arrive as descriptors through a Unix socket (here 5); on Windows, which cannot pass
descriptors, as paths.

This file and the readers import only each other from the project, so that they start fast.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

DISK = Path(__file__).parent


def _without_the_package() -> None:
    """Make `ytf_torch.disk` importable without running ytf_torch/__init__.py, which loads PyTorch:
    slow to start, and not needed in here."""
    for name, folder in {"ytf_torch": DISK.parent, "ytf_torch.disk": DISK}.items():
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package


if __name__ == "__main__":
    _without_the_package()
# Only after the packages above are in place.
from ytf_torch.disk.protections import Protections, protect  # noqa: E402
from ytf_torch.disk.refused import RefusedError  # noqa: E402


class Opened(Protocol):
    """One opened file. Requests may call those of its methods that are in the reader's METHODS.

    unpacked: bytes that have been read from it so far, decompressed.
    """

    unpacked: int

    def close(self) -> None:
        """Close it."""


class Reader(Protocol):
    """A module that parses one kind of file.

    MAX_MEMORY: bytes that parsing may allocate on top of the interpreter's own memory.
    SECONDS, BYTES_PER_SECOND: CPU time for one opened file,
    `SECONDS + unpacked bytes / BYTES_PER_SECOND`.
    METHODS: the methods of OpenFile that requests may call. Each returns a JSON value, or a
    memoryview of an array's bytes.
    OpenFile: parses a FileIO. The session closes that file.
    """

    MAX_MEMORY: int
    SECONDS: float
    BYTES_PER_SECOND: int
    METHODS: tuple[str, ...]
    OpenFile: Callable[..., Opened]


def give_seconds(seconds: float) -> None:
    """End this process (SIGPROF) after `seconds` of CPU time from now; 0 removes the limit.

    Does nothing on Windows, which has no such timer.
    """
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


class Session:
    """The open file and its CPU budget. channel: the socket through which descriptors arrive."""

    def __init__(
        self, reader: Reader, protections: Protections, channel: socket.socket | None
    ) -> None:
        self.reader, self.protections, self.channel = reader, protections, channel
        self.received: FileIO | None = None
        self.file: Opened | None = None
        self.started = 0.0

    def answer(self, method: str, arguments: list[Any]) -> Any:  # noqa: ANN401
        """The answer to one request: open a file, close it, or call one of its methods."""
        if method == "protections":
            return asdict(self.protections)
        if method == "open":
            self.started = time.process_time()
            # Before parsing begins: a crafted file can already loop while it is opened.
            give_seconds(self.reader.SECONDS)
            self.received = self._received_file(*arguments)
            self.file = self.reader.OpenFile(self.received)
            return None
        if method == "close":
            self._close()
            return time.process_time()  # by which the parent decides whether to keep this process
        # getattr below must reach listed methods alone, not every attribute of the object.
        if method not in self.reader.METHODS:
            raise RefusedError("", f"expected one of {self.reader.METHODS}, found {method}")
        # The budget is for the file, not for the request: many small requests share it.
        spent = time.process_time() - self.started
        unpacked = 0 if self.file is None else self.file.unpacked
        allowed = self.reader.SECONDS + unpacked / self.reader.BYTES_PER_SECOND
        give_seconds(max(allowed - spent, 0.01))  # 0 would remove the limit
        return getattr(self.file, method)(*arguments)

    def _received_file(self, path: str) -> FileIO:
        if self.channel is None:
            return FileIO(path)
        _, descriptors, _, _ = socket.recv_fds(self.channel, 1, 1)
        return FileIO(descriptors[0])

    def _close(self) -> None:
        if self.file is not None:  # None if opening it was refused
            self.file.close()
        if self.received is not None:  # RLIMIT_NOFILE leaves one descriptor, for the next file
            self.received.close()
        self.file = self.received = None


def shared_memory(descriptor: int) -> memoryview:
    """Map the memory behind a descriptor and close the descriptor."""
    memory = memoryview(mmap.mmap(descriptor, 0))
    os.close(descriptor)
    return memory


def answer_requests(reader: Reader, channel: socket.socket | None, shared: memoryview) -> None:
    """Confine this process, then answer requests from standard input until it ends."""
    # Before the first request is read: nothing that comes from outside is handled unconfined.
    session = Session(reader, protect(reader.MAX_MEMORY), channel)
    while line := sys.stdin.buffer.readline():
        method, arguments = json.loads(line)
        data = memoryview(b"")
        try:
            value = session.answer(method, arguments)
            if isinstance(value, memoryview):
                # The line announces how many bytes follow.
                data, value = value, value.nbytes
            answer = {"value": value}
        # Only a refusal leaves the parsing library in a known state: the parent goes on using this
        # process after it, and replaces it after the others.
        except RefusedError as error:
            answer = {"place": error.place, "refused": error.problem}
        except MemoryError:
            answer = {"exceeded": "needs more memory than allowed"}
        except Exception as error:  # whatever a parsing library raises means a damaged file
            answer = {"damaged": str(error)[:300]}  # the text may come from the file itself
        give_seconds(0)  # an idle reader must not be ended by the timer of its last request
        if fits := data.nbytes <= shared.nbytes:
            shared[: data.nbytes] = data
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.write(b"" if fits else data)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    from importlib import import_module

    descriptors = list(map(int, sys.argv[2:]))
    answer_requests(
        cast(Reader, import_module(f"ytf_torch.disk.{sys.argv[1]}")),
        socket.socket(fileno=descriptors[0]) if descriptors else None,
        shared_memory(descriptors[1]) if len(descriptors) > 1 else memoryview(bytearray()),
    )
