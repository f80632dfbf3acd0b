"""The program in which strangers' files are parsed: confined.py starts it, a reader of one kind
of file does the parsing.

A file may come from a stranger, and the libraries that parse HDF5, photos and archives can be led
by a damaged one into endless loops, huge allocations and crashes. So its bytes are parsed here
only, with limits on memory and processor time and no way to open a file or to write one; what
leaves is text and numbers. The process confines itself for good before it is given any file
(protections.py): it gets each as a descriptor that its parent has opened. Whatever a reader needs
from disk, modules above all, is therefore loaded when the reader is imported.

    python confinement.py hdf5_reader 5 6

Each request is a line of JSON: a method's name and its arguments. The first one opens a file, the
last one closes it. Each answer is a line of JSON. An array's bytes follow it; or they lie in memory
that both processes see, file descriptor 6, where there is such memory and they fit into it. Files
come through the socket 5; on Windows, which has no such sockets, as paths.
This file and the readers import nothing of the project but each other: they have to start fast.
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
    """Makes `ytf_torch.disk` importable without ytf_torch itself, which loads PyTorch."""
    for name, folder in {"ytf_torch": DISK.parent, "ytf_torch.disk": DISK}.items():
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package


if __name__ == "__main__":
    _without_the_package()
from ytf_torch.disk.protections import Protections, protect  # noqa: E402
from ytf_torch.disk.refused import RefusedError  # noqa: E402


class Opened(Protocol):
    """One opened file. What may be asked of it are the methods that its reader names.

    unpacked: bytes that were read from it so far.
    """

    unpacked: int

    def close(self) -> None:
        """Close it."""


class Reader(Protocol):
    """A module that parses one kind of file.

    MAX_MEMORY: bytes that parsing may take beyond what Python itself takes.
    SECONDS: of processor time for one opened file, plus a second for each BYTES_PER_SECOND that
    were unpacked. METHODS: what an open file answers: a value that JSON can hold, or an array's
    bytes. OpenFile: parses a FileIO, which is closed for it.
    """

    MAX_MEMORY: int
    SECONDS: float
    BYTES_PER_SECOND: int
    METHODS: tuple[str, ...]
    OpenFile: Callable[..., Opened]


def give_seconds(seconds: float) -> None:
    """End this process after so much processor time from now; 0 takes the limit off. Windows has
    no such limit."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


class Session:
    """The file that is open, and what it may still take. channel: through which files come."""

    def __init__(
        self, reader: Reader, protections: Protections, channel: socket.socket | None
    ) -> None:
        self.reader, self.protections, self.channel = reader, protections, channel
        self.given: FileIO | None = None
        self.file: Opened | None = None
        self.started = 0.0

    def answer(self, method: str, arguments: list[Any]) -> Any:  # noqa: ANN401
        """Open the file, close it, or ask it."""
        if method == "protections":
            return asdict(self.protections)
        if method == "open":
            self.started = time.process_time()
            give_seconds(self.reader.SECONDS)
            self.given = self._given_file(*arguments)
            self.file = self.reader.OpenFile(self.given)
            return None
        if method == "close":
            self._close()
            return time.process_time()
        if method not in self.reader.METHODS:
            raise RefusedError("", f"expected one of {self.reader.METHODS}, found {method}")
        spent = time.process_time() - self.started
        unpacked = 0 if self.file is None else self.file.unpacked
        allowed = self.reader.SECONDS + unpacked / self.reader.BYTES_PER_SECOND
        give_seconds(max(allowed - spent, 0.01))
        return getattr(self.file, method)(*arguments)

    def _given_file(self, path: str) -> FileIO:
        if self.channel is None:
            return FileIO(path)
        _, descriptors, _, _ = socket.recv_fds(self.channel, 1, 1)
        return FileIO(descriptors[0])

    def _close(self) -> None:
        if self.file is not None:  # None where opening it was refused
            self.file.close()
        if self.given is not None:  # the next file needs its descriptor
            self.given.close()
        self.file = self.given = None


def shared_memory(descriptor: int) -> memoryview:
    """The memory behind a file descriptor, which is closed."""
    memory = memoryview(mmap.mmap(descriptor, 0))
    os.close(descriptor)
    return memory


def answer_requests(reader: Reader, channel: socket.socket | None, shared: memoryview) -> None:
    """Answer requests on standard input until it ends."""
    session = Session(reader, protect(reader.MAX_MEMORY), channel)
    while line := sys.stdin.buffer.readline():
        method, arguments = json.loads(line)
        data = memoryview(b"")
        try:
            value = session.answer(method, arguments)
            if isinstance(value, memoryview):
                data, value = value, value.nbytes
            answer = {"value": value}
        except RefusedError as error:
            answer = {"place": error.place, "refused": error.problem}
        except MemoryError:
            answer = {"exceeded": "so much memory to read"}
        except Exception as error:  # whatever a library raises, the file is damaged
            answer = {"damaged": str(error)[:300]}
        give_seconds(0)
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
