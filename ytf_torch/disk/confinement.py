"""The program in which strangers' files are parsed: confined.py starts it, a reader of one kind
of file does the parsing.

A file may come from a stranger, and the libraries that parse HDF5, photos and archives can be led
by a damaged one into endless loops, huge allocations and crashes. So its bytes are parsed here
only, with limits on memory and processor time and no way to open a second file or to write one;
what leaves is text and numbers.

    python confinement.py hdf5_reader 5

Each request is a line of JSON: a method's name and its arguments. The first one opens a file, the
last one closes it. Each answer is a line of JSON. An array's bytes follow it; or they lie in memory
that both processes see, file descriptor 5, where there is such memory and they fit into it.
This file and the readers import nothing of the project but each other: they have to start fast.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable
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
    bytes.
    """

    MAX_MEMORY: int
    SECONDS: float
    BYTES_PER_SECOND: int
    METHODS: tuple[str, ...]
    OpenFile: Callable[..., Opened]


class Confinement:
    """The limits of this process. Windows has none of them, macOS not that on memory."""

    def __init__(self, max_memory: int) -> None:
        self.files = (0, 0)
        if sys.platform != "win32":
            import resource

            self.files = resource.getrlimit(resource.RLIMIT_NOFILE)
            for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
                resource.setrlimit(limit, (0, 0))
            if sys.platform == "linux":
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                memory = pages * resource.getpagesize() + max_memory
                resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

    def may_open_files(self, allowed: bool) -> None:
        """Whether files may be opened at all."""
        if sys.platform != "win32":
            import resource

            limit = (self.files[0] if allowed else 0, self.files[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)

    def give_seconds(self, seconds: float) -> None:
        """End this process after so much processor time from now; 0 takes the limit off."""
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_PROF, seconds)


class Session:
    """The file that is open, and what it may still take."""

    def __init__(self, reader: Reader, confinement: Confinement) -> None:
        self.reader, self.confinement = reader, confinement
        self.file: Opened | None = None
        self.started = 0.0

    def answer(self, method: str, arguments: list[Any]) -> Any:  # noqa: ANN401
        """Open the file, close it, or ask it."""
        if method == "open":
            self.started = time.process_time()
            self.confinement.give_seconds(self.reader.SECONDS)
            self.file = self.reader.OpenFile(*arguments)
            self.confinement.may_open_files(False)
            return None
        if method == "close":
            if self.file is not None:  # None where opening it was refused
                self.file.close()
            self.file = None
            self.confinement.may_open_files(True)
            return None
        if method not in self.reader.METHODS:
            raise RefusedError("", f"expected one of {self.reader.METHODS}, found {method}")
        spent = time.process_time() - self.started
        unpacked = 0 if self.file is None else self.file.unpacked
        allowed = self.reader.SECONDS + unpacked / self.reader.BYTES_PER_SECOND
        self.confinement.give_seconds(max(allowed - spent, 0.01))
        return getattr(self.file, method)(*arguments)


def shared_memory(descriptor: int) -> memoryview:
    """The memory behind a file descriptor, which is closed."""
    memory = memoryview(mmap.mmap(descriptor, 0))
    os.close(descriptor)
    return memory


def answer_requests(reader: Reader, shared: memoryview) -> None:
    """Answer requests on standard input until it ends."""
    confinement = Confinement(reader.MAX_MEMORY)
    session = Session(reader, confinement)
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
        confinement.give_seconds(0)
        if fits := data.nbytes <= shared.nbytes:
            shared[: data.nbytes] = data
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.write(b"" if fits else data)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    from importlib import import_module

    answer_requests(
        cast(Reader, import_module(f"ytf_torch.disk.{sys.argv[1]}")),
        shared_memory(int(sys.argv[2])) if len(sys.argv) > 2 else memoryview(b""),
    )
