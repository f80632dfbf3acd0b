"""Asking the processes in which strangers' files are parsed; see confinement.py.

Here arrive texts and arrays of numbers, nothing else.
"""

from __future__ import annotations

import atexit
import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ytf_torch.disk.interpreter import python_command
from ytf_torch.errors import InputError

PROGRAM = Path(__file__).with_name("confinement.py")
# Readers, each a module in this folder, and what they read in words.
KINDS = {
    "hdf5_reader": "HDF5 file",
    "keras_archive_reader": "Keras archive",
    "photo_reader": "photo",
    "zip_reader": "zip archive",
}
# HDF5 loads no filters from elsewhere, and a reader takes no more than one core.
ENVIRONMENT = {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
# Of memory that a process shares with its reader; face_set.py asks for some 16 MiB at once.
SHARED_BYTES = 16 * 2**20


class _Process:
    """A process that reads one file of its kind at a time.

    sound: whether it answered the last request in full and found no damage, which could have
    damaged it too.
    """

    def __init__(self, reader: str) -> None:
        self.reader = reader
        python, surroundings = python_command()
        descriptors = _sealed_memory()
        maps = [mmap.mmap(descriptor, SHARED_BYTES) for descriptor in descriptors]
        self.shared = memoryview(maps[0] if maps else b"")
        with _signals_wait():
            self.process = subprocess.Popen(
                [python, "-P", str(PROGRAM), reader, *map(str, descriptors)],
                pass_fds=descriptors,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | surroundings | ENVIRONMENT,
                # So that it does not end before its parent where a whole group is killed.
                process_group=None if sys.platform == "win32" else 0,
            )
        for descriptor in descriptors:
            os.close(descriptor)
        assert self.process.stdin is not None
        assert isinstance(self.process.stdout, BufferedReader)
        self.sound = True
        self.requests, self.answers = self.process.stdin, self.process.stdout

    def ask(self, file: Path, method: str, arguments: tuple[object, ...], into: Any) -> Any:  # noqa: ANN401
        """See OpenFile.ask."""
        self.sound = False
        try:
            self.requests.write(json.dumps([method, arguments]).encode() + b"\n")
            self.requests.flush()
            line = self.answers.readline()
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            raise self._broke_off(file)
        answer = json.loads(line)
        if "exceeded" in answer:
            raise InputError(
                file, f"refused: no {KINDS[self.reader]} may take {answer['exceeded']}"
            )
        if "damaged" in answer:
            raise InputError(file, f"damaged {KINDS[self.reader]} ({answer['damaged']})")
        if "refused" in answer:
            self.sound = True
            place = f"{file}:{answer['place']}" if answer["place"] else file
            raise InputError(place, answer["refused"])
        if into is not None and into.size:
            if answer["value"] != into.nbytes:
                raise self._broke_off(file)
            content = into.data.cast("B")
            if into.nbytes <= self.shared.nbytes:
                content[:] = self.shared[: into.nbytes]
            elif self.answers.readinto(content) != into.nbytes:
                raise self._broke_off(file)
        self.sound = True
        return answer["value"]

    def _broke_off(self, file: Path) -> InputError:
        self.end()
        status, kind = self.process.returncode, KINDS[self.reader]
        if sys.platform != "win32" and status == -signal.SIGPROF:
            return InputError(file, f"refused: no {kind} may take so long to read")
        return InputError(file, f"damaged {kind} (its reader broke off with status {status})")

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


@contextmanager
def _signals_wait() -> Iterator[None]:
    """SIGINT and SIGTERM wait until this block ends, and never reach a process begun in it.

    Terminals, batch systems and service managers send them to all processes of a run. That it
    ends is the parent's to tell, and not that a file cannot be read any more.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _sealed_memory() -> tuple[int, ...]:
    """The file descriptor of SHARED_BYTES of memory; none where the system has no such memory. Its
    size is sealed: a process that uses memory which another has cut short is killed."""
    if sys.platform != "linux":
        return ()
    import fcntl

    descriptor = os.memfd_create("ytf-torch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, SHARED_BYTES)
    seals = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return (descriptor,)


_idle: dict[str, list[_Process]] = {reader: [] for reader in KINDS}


def _forget_idle() -> None:
    for waiting in _idle.values():
        waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_idle)


@atexit.register
def _end_idle() -> None:
    for waiting in _idle.values():
        while waiting:
            waiting.pop().end()


def start_reader(reader: str) -> None:
    """Have a process of one of KINDS ready when the first file is opened: it starts while the
    caller goes on."""
    if not _idle[reader]:
        _idle[reader].append(_Process(reader))


@dataclass(frozen=True)
class OpenFile:
    """A file that a confined process has open."""

    process: _Process
    path: Path

    def ask(self, method: str, *arguments: object, into: NDArray[Any] | None = None) -> Any:  # noqa: ANN401
        """The value that a method of the reader's OpenFile gives; the bytes it gives, `into` an
        array. Raises InputError."""
        return self.process.ask(self.path, method, arguments, into)


@contextmanager
def open_confined(reader: str, path: Path, *arguments: object) -> Iterator[OpenFile]:
    """A file opened by one of KINDS in a process of its own, closed when the block ends.

    arguments: what else the reader wants to know to open it. Raises InputError where it is
    damaged or refused.
    """
    try:
        process = _idle[reader].pop()
    except IndexError:
        process = _Process(reader)
    try:
        process.ask(path, "open", (str(path.absolute()), *arguments), None)
        yield OpenFile(process, path)
    finally:
        if process.sound:
            process.ask(path, "close", (), None)
            _idle[reader].append(process)
        else:
            process.end()
