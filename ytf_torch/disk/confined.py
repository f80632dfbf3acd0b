"""Client side of the sandboxed processes that parse untrusted files; see confinement.py.

Only text and arrays of numbers cross back into this process.
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

from ytf_torch.disk.interpreter import python_command, signals_blocked
from ytf_torch.disk.protections import Protections
from ytf_torch.errors import InputError

PROGRAM = Path(__file__).with_name("confinement.py")
# Reader modules in this folder, and what error messages call the files they parse.
KINDS = {
    "hdf5_reader": "HDF5 file",
    "keras_archive_reader": "Keras archive",
    "photo_reader": "photo",
    "zip_reader": "zip archive",
}
# HDF5 must not load filter plugins from disk; a reader uses one core; and Python's JIT stays off,
# because the seccomp filter denies executable memory.
ENVIRONMENT = {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "PYTHON_JIT": "0"}
# Signals sent from outside: by the kernel when memory runs out, by service managers, by users.
# A reader ended by one of them says nothing about its file, so the request is retried.
KILL_SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
# Grace period, in seconds, between a reader closing its output and its exit.
EXIT_TIMEOUT = 5
# Size of the memory shared with a reader: READ_BYTES of hdf5.py, which is read at once, fits.
SHARED_BYTES = 16 * 2**20
# Longest JSON answer, array bytes not counted: 4 MiB of text in which each character is escaped.
MAX_ANSWER_BYTES = 64 * 2**20
# CPU seconds after which a reader is replaced, far below LIFETIME_SECONDS, its hard limit.
MAX_SECONDS_REUSED = 3600


class ReaderKilledError(InputError):
    """The process that read a file was killed from outside, which says nothing about the file."""


class _Process:
    """A sandboxed process that reads one file of its kind at a time.

    reusable: whether it may read another file. False after a failed request or a damaged file,
    which may have corrupted it. answered: whether it has answered any request yet.
    """

    def __init__(self, reader: str) -> None:
        self.reader = reader
        python, extra_environment = python_command()
        # Arrays come back through this memory: a pipe holds only 64 KiB at a time.
        memory = _sealed_memory()
        maps = [mmap.mmap(descriptor, SHARED_BYTES) for descriptor in memory]
        self.shared = memoryview(maps[0] if maps else b"")
        self.channel, channel = _channel()
        descriptors = (*channel, *memory)
        with signals_blocked("SIGINT", "SIGTERM"):
            self.process = subprocess.Popen(
                [python, "-P", str(PROGRAM), reader, *map(str, descriptors)],
                pass_fds=descriptors,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | extra_environment | ENVIRONMENT,
                # A group of its own, so that a signal to the parent's group does not end it first.
                process_group=None if sys.platform == "win32" else 0,
            )
        for descriptor in descriptors:  # the child holds its own copies
            os.close(descriptor)
        assert self.process.stdin is not None
        assert isinstance(self.process.stdout, BufferedReader)
        self.reusable, self.answered = True, False
        self.requests, self.answers = self.process.stdin, self.process.stdout

    def ask(self, file: Path, method: str, arguments: tuple[object, ...], into: Any) -> Any:  # noqa: ANN401
        """See OpenFile.ask."""
        # Until the whole answer has arrived: after an error halfway, request and answer no longer
        # match.
        self.reusable = False
        try:
            self.requests.write(json.dumps([method, arguments]).encode() + b"\n")
            self.requests.flush()
            line = self.answers.readline(MAX_ANSWER_BYTES)
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            raise self._exited(file)
        self.answered = True
        answer = json.loads(line)
        if "exceeded" in answer:
            raise InputError(
                file, f"refused: reading this {KINDS[self.reader]} {answer['exceeded']}"
            )
        if "damaged" in answer:
            raise InputError(file, f"damaged {KINDS[self.reader]} ({answer['damaged']})")
        if "refused" in answer:
            self.reusable = True  # the reader's own check failed, not the parsing library
            place = f"{file}:{answer['place']}" if answer["place"] else file
            raise InputError(place, answer["refused"])
        if into is not None and into.size:
            # The reader may be compromised: it does not decide how much is written here.
            if answer["value"] != into.nbytes:
                raise self._exited(file)
            content = into.data.cast("B")
            if into.nbytes <= self.shared.nbytes:
                content[:] = self.shared[: into.nbytes]
            elif self.answers.readinto(content) != into.nbytes:
                raise self._exited(file)
        self.reusable = True
        return answer["value"]

    def open(self, path: Path) -> None:
        """Open a file in this process and hand its descriptor to the reader. Raises InputError."""
        try:
            file = path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(path, f"cannot be read ({error.strerror})") from error
        with file:
            self._send_descriptor(file)
            self.ask(path, "open", (str(path.absolute()),), None)

    def _send_descriptor(self, file: BinaryIO) -> None:
        if self.channel is not None:
            with suppress(ConnectionError):  # the next request reports that the reader is gone
                socket.send_fds(self.channel, [b"."], [file.fileno()])

    def _exited(self, file: Path) -> InputError:
        """The error for a reader that ended without a complete answer."""
        # Wait for its own exit status: `end` kills the process, which would overwrite the status.
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(EXIT_TIMEOUT)
        self.end()
        status, kind = self.process.returncode, KINDS[self.reader]
        if sys.platform != "win32" and status == -signal.SIGPROF:
            return InputError(file, f"refused: reading this {kind} takes longer than allowed")
        name = _signal_name(-status)
        if name in KILL_SIGNALS:
            problem = f"the process that read it was killed ({name})"
            remedy = "The system may have run out of memory: free some, and try again"
            return ReaderKilledError(file, problem, remedy)
        if not self.answered and (why := _startup_error(self.reader)):
            problem = f"cannot be read here: the process that reads a {kind} does not start ({why})"
            return InputError(file, problem)
        return InputError(file, f"damaged {kind} (its reader exited with status {status})")

    def end(self) -> None:
        """Kill the process and close its channel."""
        self.process.kill()
        self.process.communicate()
        if self.channel is not None:
            self.channel.close()


def _signal_name(number: int) -> str:
    """A signal's name; "" if no signal has this number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _startup_error(reader: str) -> str:
    """The last line on stderr of a reader that fails to start without any file; "" if it starts.

    Distinguishes a missing library on this machine from a damaged file.
    """
    python, extra_environment = python_command()
    run_without_requests = subprocess.run(
        [python, "-P", str(PROGRAM), reader],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | extra_environment | ENVIRONMENT,
        check=False,
    )
    if run_without_requests.returncode == 0:
        return ""
    lines = run_without_requests.stderr.decode(errors="replace").split("\n")
    messages = [line.strip() for line in lines if line.strip()]
    return messages[-1][:300] if messages else f"status {run_without_requests.returncode}"


def _sealed_memory() -> tuple[int, ...]:
    """The descriptor of a memfd of SHARED_BYTES; empty where the system has none (Linux only).

    Its size is sealed: a reader that shrank the memory would kill its parent by SIGBUS.
    """
    if sys.platform != "linux":
        return ()
    import fcntl

    descriptor = os.memfd_create("ytf-torch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, SHARED_BYTES)
    seals = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return (descriptor,)


def _channel() -> tuple[socket.socket | None, tuple[int, ...]]:
    """A socket that passes open descriptors to a reader, and the reader's end of it; none on
    Windows."""
    if sys.platform == "win32":
        return None, ()
    parent_end, child_end = socket.socketpair()
    return parent_end, (child_end.detach(),)


# Readers that wait for a file, by their kind: starting one costs more than reading a small file.
_idle: defaultdict[str, list[_Process]] = defaultdict(list)


def _forget_idle() -> None:
    # After a fork both processes would share the pipes of one reader and mix up its answers.
    for processes in _idle.values():
        processes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_idle)


@atexit.register
def _end_idle() -> None:
    for processes in _idle.values():
        while processes:
            processes.pop().end()


def start_reader(reader: str) -> None:
    """Start a reader of one of KINDS in the background, so that it is ready for the first file."""
    if not _idle[reader]:
        _idle[reader].append(_Process(reader))


@dataclass
class OpenFile:
    """A file that a confined process has open.

    last: method and arguments of the last request if it returned a value, else None. A restarted
    process repeats it first, because `values` returns what the request before it has read.
    """

    process: _Process
    path: Path
    last: tuple[str, tuple[object, ...]] | None = None

    def open(self) -> None:
        """Open the file in the process. If that is killed, retry once in a new one."""
        try:
            self.process.open(self.path)
        except ReaderKilledError:
            self.process = _Process(self.process.reader)
            self.process.open(self.path)

    def ask(self, method: str, *arguments: object, into: NDArray[Any] | None = None) -> Any:  # noqa: ANN401
        """Call a method of the reader's OpenFile and return its value.

        into: array that receives the bytes which the method returns. If the process is killed
        meanwhile, the request is repeated once in a new one. Raises InputError.
        """
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
        """The array that a method reads, as the dtype that it returns: uint8 or float32."""
        dtype = self.ask(method, *arguments)
        array = np.empty(shape, np.uint8 if dtype == "uint8" else np.float32)
        self.ask("values", into=array)
        return array


@contextmanager
def open_confined(reader: str, path: Path) -> Iterator[OpenFile]:
    """Open a file in a sandboxed process; close it when the block ends.

    reader: one of KINDS. Raises InputError if the file cannot be opened, is damaged or refused.
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
            _return_to_pool(file)
        else:
            file.process.end()


def _return_to_pool(file: OpenFile) -> None:
    """Close a file and keep its process for other files, unless the process was killed or has
    used MAX_SECONDS_REUSED of CPU time."""
    try:
        seconds = file.process.ask(file.path, "close", (), None)
    except ReaderKilledError:
        return
    if isinstance(seconds, float) and seconds < MAX_SECONDS_REUSED:
        _idle[file.process.reader].append(file.process)
    else:
        file.process.end()


def protections() -> Protections:
    """The kernel restrictions that are in force on this machine where untrusted files are parsed.

    >>> protections().limits[:2]
    ('RLIMIT_CORE', 'RLIMIT_FSIZE')
    """
    process = _Process("zip_reader")
    try:
        report = process.ask(PROGRAM, "protections", (), None)
    finally:
        process.end()
    return Protections(tuple(report["limits"]), report["landlock"], report["seccomp"])
