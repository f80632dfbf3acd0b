"""Asking the processes in which strangers' files are parsed; see confinement.py.

Here arrive texts and arrays of numbers, nothing else.
"""

from __future__ import annotations

import atexit
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ytf_torch.disk.interpreter import python_command
from ytf_torch.disk.protections import Protections
from ytf_torch.errors import InputError

PROGRAM = Path(__file__).with_name("confinement.py")
# Readers, each a module in this folder, and what they read in words.
KINDS = {
    "hdf5_reader": "HDF5 file",
    "keras_archive_reader": "Keras archive",
    "photo_reader": "photo",
    "zip_reader": "zip archive",
}
# HDF5 loads no filters from elsewhere, a reader takes no more than one core, and Python makes no
# machine code, which a reader may not run.
ENVIRONMENT = {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "PYTHON_JIT": "0"}
# What others end a process with: the kernel where memory runs out, service managers, people.
KILLS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
# Seconds that a process may take to end once it has closed its output.
ENDING = 5
# Of memory that a process shares with its reader; image_set.py asks for some 16 MiB at once.
SHARED_BYTES = 16 * 2**20
# Of one answer, without an array's bytes: a text of 4 MiB of characters that are all escaped.
MAX_ANSWER_BYTES = 64 * 2**20
# Of processor time: afterwards another process reads, long before LIFETIME_SECONDS are over.
MAX_SECONDS_REUSED = 3600


class ReaderKilledError(InputError):
    """The process that read a file was killed, which says nothing about the file."""


class _Process:
    """A process that reads one file of its kind at a time.

    reusable: whether another file may be read by it. False after a failed request or a damaged
    file, which may have corrupted it.
    """

    def __init__(self, reader: str) -> None:
        self.reader = reader
        python, surroundings = python_command()
        memory = _sealed_memory()
        maps = [mmap.mmap(descriptor, SHARED_BYTES) for descriptor in memory]
        self.shared = memoryview(maps[0] if maps else b"")
        self.channel, channel = _channel()
        descriptors = (*channel, *memory)
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
        self.reusable, self.answered = True, False
        self.requests, self.answers = self.process.stdin, self.process.stdout

    def ask(self, file: Path, method: str, arguments: tuple[object, ...], into: Any) -> Any:  # noqa: ANN401
        """See OpenFile.ask."""
        self.reusable = False
        try:
            self.requests.write(json.dumps([method, arguments]).encode() + b"\n")
            self.requests.flush()
            line = self.answers.readline(MAX_ANSWER_BYTES)
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            raise self._broke_off(file)
        self.answered = True
        answer = json.loads(line)
        if "exceeded" in answer:
            raise InputError(
                file, f"refused: no {KINDS[self.reader]} may take {answer['exceeded']}"
            )
        if "damaged" in answer:
            raise InputError(file, f"damaged {KINDS[self.reader]} ({answer['damaged']})")
        if "refused" in answer:
            self.reusable = True
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
        self.reusable = True
        return answer["value"]

    def open(self, path: Path) -> None:
        """Open a file here and have it read there. Raises InputError."""
        try:
            file = path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(path, f"cannot be read ({error.strerror})") from error
        with file:
            self._hand_over(file)
            self.ask(path, "open", (str(path.absolute()),), None)

    def _hand_over(self, file: BinaryIO) -> None:
        if self.channel is not None:
            with suppress(ConnectionError):  # the next request finds that out
                socket.send_fds(self.channel, [b"."], [file.fileno()])

    def _broke_off(self, file: Path) -> InputError:
        # Ended by its own status or signal: one that is killed too early would hide it.
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(ENDING)
        self.end()
        status, kind = self.process.returncode, KINDS[self.reader]
        if sys.platform != "win32" and status == -signal.SIGPROF:
            return InputError(file, f"refused: no {kind} may take so long to read")
        name = _signal_name(-status)
        if name in KILLS:
            problem = f"its reader, a process of its own, was killed ({name})"
            remedy = "Systems do so where memory runs out; free some, and try again"
            return ReaderKilledError(file, problem, remedy)
        if not self.answered and (why := _why_it_does_not_start(self.reader)):
            problem = f"cannot be read here: the process that reads a {kind} does not start ({why})"
            return InputError(file, problem)
        return InputError(file, f"damaged {kind} (its reader broke off with status {status})")

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        if self.channel is not None:
            self.channel.close()


def _signal_name(number: int) -> str:
    """A signal's name; "" where there is none of this number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _why_it_does_not_start(reader: str) -> str:
    """What a reader says that does not start on this machine, with no file at all; "" where it
    does start."""
    python, surroundings = python_command()
    asked_nothing = subprocess.run(
        [python, "-P", str(PROGRAM), reader],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | surroundings | ENVIRONMENT,
        check=False,
    )
    if asked_nothing.returncode == 0:
        return ""
    lines = asked_nothing.stderr.decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:300] if said else f"status {asked_nothing.returncode}"


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


def _channel() -> tuple[socket.socket | None, tuple[int, ...]]:
    """A socket through which a process is given open files, and the descriptor of its end; none
    on Windows."""
    if sys.platform == "win32":
        return None, ()
    here, there = socket.socketpair()
    return here, (there.detach(),)


_idle: defaultdict[str, list[_Process]] = defaultdict(list)


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
    caller continues."""
    if not _idle[reader]:
        _idle[reader].append(_Process(reader))


@dataclass
class OpenFile:
    """A file that a confined process has open.

    last: the method that was asked for last and its arguments, where it gave a value: what the next
    one gives may depend on it.
    """

    process: _Process
    path: Path
    last: tuple[str, tuple[object, ...]] | None = None

    def open(self) -> None:
        """Have the process open the file, or one more process where that was killed."""
        try:
            self.process.open(self.path)
        except ReaderKilledError:
            self.process = _Process(self.process.reader)
            self.process.open(self.path)

    def ask(self, method: str, *arguments: object, into: NDArray[Any] | None = None) -> Any:  # noqa: ANN401
        """The value that a method of the reader's OpenFile gives; the bytes it gives, `into` an
        array. A process that is killed meanwhile is started once more. Raises InputError."""
        try:
            value = self.process.ask(self.path, method, arguments, into)
        except ReaderKilledError:
            self.process = _Process(self.process.reader)
            self.process.open(self.path)
            if self.last is not None:
                self.process.ask(self.path, *self.last, None)
            value = self.process.ask(self.path, method, arguments, into)
        self.last = (method, arguments) if into is None else None
        return value

    def narrowed(
        self, shape: tuple[int, ...], method: str, *arguments: object
    ) -> NDArray[np.uint8] | NDArray[np.float32]:
        """The array that a method reads, as uint8 or float32, whichever it says."""
        kind = self.ask(method, *arguments)
        array = np.empty(shape, np.uint8 if kind == "uint8" else np.float32)
        self.ask("values", into=array)
        return array


@contextmanager
def open_confined(reader: str, path: Path) -> Iterator[OpenFile]:
    """A file parsed by one of KINDS in a process of its own, closed when the block ends.

    Raises InputError where it cannot be opened, is damaged or refused.
    """
    try:
        process = _idle[reader].pop()
    except IndexError:
        process = _Process(reader)
    file = OpenFile(process, path)
    try:
        file.open()
        yield file
    finally:
        if file.process.reusable:
            _put_back(file)
        else:
            file.process.end()


def _put_back(file: OpenFile) -> None:
    """Close a file, and keep its process for others, unless that was killed when all was read or
    has computed for long."""
    try:
        seconds = file.process.ask(file.path, "close", (), None)
    except ReaderKilledError:
        return
    if isinstance(seconds, float) and seconds < MAX_SECONDS_REUSED:
        _idle[file.process.reader].append(file.process)
    else:
        file.process.end()


def protections() -> Protections:
    """What the kernel of this machine holds the processes to in which strangers' files are parsed.

    >>> protections().limits[:2]
    ('RLIMIT_CORE', 'RLIMIT_FSIZE')
    """
    process = _Process("zip_reader")
    try:
        found = process.ask(PROGRAM, "protections", (), None)
    finally:
        process.end()
    return Protections(tuple(found["limits"]), found["landlock"], found["seccomp"])
