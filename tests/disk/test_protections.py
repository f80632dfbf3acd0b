"""What a process that parses untrusted files can no longer do: each attempt is made for real."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ytf_torch.disk.confined import (
    KINDS,
    PROGRAM,
    SHARED_BYTES,
    open_confined,
    protections,
)
from ytf_torch.disk.protections import Protections
from ytf_torch.disk.seccomp import ALLOW, ARCHITECTURES, CALLS, DENY, conditions, program

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux has these protections")
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
HERE = protections()
FILTERED = pytest.mark.skipif(not HERE.seccomp, reason="system calls cannot be filtered here")
LANDLOCK = pytest.mark.skipif(not HERE.landlock, reason="no Landlock here")

# Attempts, run in a process that has confined itself. `path` is a file; `call` makes a system call
# by its number.
NO_PATH = {
    "open a file": "os.open(path, os.O_RDONLY)",
    "write a file": "os.open(path, os.O_WRONLY)",
    "make a file": "os.open(path + '.new', os.O_WRONLY | os.O_CREAT)",
    "make a folder": "os.mkdir(path + '.new')",
    "make a link": "os.symlink('/etc/passwd', path + '.new')",
    "make a pipe of a name": "os.mkfifo(path + '.new')",
    "list a folder": "os.listdir('/')",
    "remove a file": "os.unlink(path)",
    "rename a file": "os.rename(path, path + '.new')",
    "cut a file short": "os.truncate(path, 0)",
    "run a program": "os.execv('/bin/true', ['true'])",
    "load a module": "__import__('wave')",
}
NO_CALL = {
    "openat2": "call(437, -100, path.encode(), bytes(24), 24)",
    "open by handle": "call({'x86_64': 304, 'aarch64': 265}[machine], -100, bytes(64), 0)",
    "io_uring": "call(425, 8, bytes(120))",
    "the folder's name": "os.getcwd()",
    "a file's size": "os.stat(path)",
    "change permissions": "os.chmod(path, 0o777)",
    "change the root": "os.chroot('/')",
    "copy a descriptor": "os.dup(0)",
    "a pipe": "os.pipe()",
    "memory as a file": "os.memfd_create('a')",
    "an internet socket": "socket.socket()",
    "a local socket": "socket.socketpair()",
    "a process": "os.fork() or os._exit(0)",
    "a process, by clone3": "call(435, bytes(88), 88)",
    "a thread": "_thread.start_new_thread(print, ())",
    "a signal to the parent": "os.kill(os.getppid(), 0)",
    "trace the parent": "call({'x86_64': 101, 'aarch64': 117}[machine], 16, os.getppid(), 0, 0)",
    "read another's memory": "call({'x86_64': 310, 'aarch64': 270}[machine], 1, 0, 0, 0, 0, 0)",
    "the limit on descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))",
    "ignore the limit on time": "signal.signal(signal.SIGPROF, signal.SIG_IGN)",
    "put off the limit on time": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF])",
    "another clock": "signal.setitimer(signal.ITIMER_REAL, 1)",
    "memory for machine code": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "terminal control": "fcntl.ioctl(0, 0x5412, b'a')",
    "namespaces": "call({'x86_64': 272, 'aarch64': 97}[machine], 0x10000000)",
}
SCRIPT = """
import _thread, ctypes, fcntl, json, mmap, os, resource, signal, socket, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from ytf_torch.disk.confinement import *
from ytf_torch.disk import protections, seccomp
machine, path, attempts = os.uname().machine, sys.argv[3], json.loads(sys.argv[4])
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    given = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    if libc.syscall(*given) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
exec(sys.argv[2])
outcomes = {}
for name, attempt in attempts.items():
    try:
        exec(attempt)
        outcomes[name] = "done"
    except Exception as error:
        outcomes[name] = type(error).__name__
os.write(1, json.dumps(outcomes).encode())
"""
ROOT = PROGRAM.parents[2]
REFUSED = {
    *("PermissionError", "ImportError", "ModuleNotFoundError"),
    *("RuntimeError", "ValueError", "itimer_error"),
}


def outcomes(confine: str, attempts: dict[str, str], path: Path) -> dict[str, str]:
    """The result of each attempt in a process that has run `confine` first: "done", or the name of
    the exception."""
    path.write_text("content")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(ROOT), confine, str(path), json.dumps(attempts)],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert path.read_text() == "content"
    assert list(path.parent.iterdir()) == [path]
    found: dict[str, str] = json.loads(done.stdout)
    return found


def succeeded(found: dict[str, str]) -> list[str]:
    return [name for name, outcome in found.items() if outcome not in REFUSED]


@LINUX
def test_unconfined_the_attempts_succeed(tmp_path: Path) -> None:
    harmless = ("open a file", "list a folder", "load a module", "a pipe", "a file's size")
    attempts = {**NO_PATH, **NO_CALL}
    found = outcomes("", {name: attempts[name] for name in harmless}, tmp_path / "a")
    assert set(found.values()) == {"done"}


@FILTERED
def test_a_confined_process_can_neither_open_nor_start_anything(tmp_path: Path) -> None:
    found = outcomes("protections.protect(2**26)", {**NO_PATH, **NO_CALL}, tmp_path / "a")
    assert succeeded(found) == []


@FILTERED
def test_the_filter_alone_denies_every_attempt(tmp_path: Path) -> None:
    confine = "libc.prctl(38, *map(ctypes.c_ulong, (1, 0, 0, 0))); seccomp.install_filter(libc)"
    assert succeeded(outcomes(confine, {**NO_PATH, **NO_CALL}, tmp_path / "a")) == []


@LANDLOCK
def test_landlock_alone_denies_every_path(tmp_path: Path) -> None:
    confine = "libc.prctl(38, *map(ctypes.c_ulong, (1, 0, 0, 0))); protections.deny_paths(libc)"
    attempts = {name: attempt for name, attempt in NO_PATH.items() if name != "cut a file short"}
    if HERE.landlock >= 3:
        attempts = NO_PATH
    assert succeeded(outcomes(confine, attempts, tmp_path / "a")) == []


@POSIX
def test_limits_alone_leave_one_descriptor_and_cannot_be_raised(tmp_path: Path) -> None:
    """As on systems with neither Landlock nor seccomp. Root drops the capability to raise them."""
    confine = (
        "seccomp.install_filter = protections.install_filter = lambda libc: False\n"
        "protections.deny_paths = lambda libc: 0\n"
        "protections.protect(2**26)\n"
        "one = os.open(path, os.O_RDONLY)"
    )
    attempts = {
        "a second file": "os.open(path, os.O_RDONLY)",
        "a socket": "socket.socket()",
        "more descriptors": "resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))",
        "larger files": "resource.setrlimit(resource.RLIMIT_FSIZE, (9, 9))",
        "more time": "resource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))",
        "memory dumps": "resource.setrlimit(resource.RLIMIT_CORE, (9, 9))",
        "processes": "resource.setrlimit(resource.RLIMIT_NPROC, (9, 9))",
    }
    if os.geteuid() != 0:  # Linux lets root start as many as it wants
        attempts["a process"] = "os.fork() or os._exit(0)"
    if sys.platform == "linux":
        attempts |= {
            "much memory": "bytearray(2**27)",
            "more memory": "resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))",
        }
    found = outcomes(confine, attempts, tmp_path / "a")
    allowed = {"OSError", "ValueError", "MemoryError", "BlockingIOError", "PermissionError"}
    assert {name: what for name, what in found.items() if what not in allowed} == {}


@FILTERED
def test_hdf5_follows_no_external_link_in_a_confined_process(tmp_path: Path) -> None:
    """Even if HDF5 opened the file by path, and no check of ours inspects the link."""
    (tmp_path / "hdf5").mkdir()
    linked, linking = face_set(tmp_path / "hdf5"), tmp_path / "hdf5" / "linking.h5"
    with h5py.File(linking, "w") as file:
        file["there"] = h5py.ExternalLink(str(linked), "data")
    opening = f"import h5py; file = h5py.File({str(linking)!r})"
    attempt = {"follow": "file['there'][()]"}
    (tmp_path / "a").mkdir()
    free = outcomes(opening, attempt, tmp_path / "a" / "b")
    held = outcomes(f"{opening}; protections.protect(2**28)", attempt, tmp_path / "a" / "b")
    assert (free, held) == ({"follow": "done"}, {"follow": "KeyError"})


def status(process: int) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def assert_confined(process: int) -> None:
    """Check in /proc that the kernel enforces the protections that are reported."""
    state = status(process)
    assert state["NoNewPrivs"] == "1"
    assert int(state["CapEff"], 16) == int(state["CapPrm"], 16) == 0
    assert (state["Seccomp"] == "2") or not HERE.seccomp
    rows = Path(f"/proc/{process}/limits").read_text().splitlines()
    limits = {row[:26].strip(): row[26:].split()[:2] for row in rows[1:]}
    for name in ("Max file size", "Max core file size", "Max processes"):
        assert limits[name] == ["0", "0"]
    for name in ("Max open files", "Max address space", "Max cpu time"):
        soft, hard = limits[name]
        assert soft == hard != "unlimited"


def opened_files(process: int) -> list[str]:
    """The files on disk that a process has open."""
    targets = [str(entry.readlink()) for entry in Path(f"/proc/{process}/fd").iterdir()]
    none = ("/dev/null", "/memfd:ytf-torch (deleted)")
    return [path for path in targets if path.startswith("/") and path not in none]


def face_set(folder: Path) -> Path:
    with h5py.File(folder / "faces.h5", "w") as file:
        file["data"] = np.arange(12)
    return folder / "faces.h5"


@LINUX
@pytest.mark.parametrize("reader", KINDS)
def test_a_reader_is_confined_before_it_receives_a_file(reader: str) -> None:
    """A file can reach it only with the request that passes its descriptor."""
    with subprocess.Popen(
        [sys.executable, "-P", str(PROGRAM), reader],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'["protections", []]\n')
        process.stdin.flush()
        said = json.loads(process.stdout.readline())["value"]
        assert_confined(process.pid)
        assert opened_files(process.pid) == []
        process.kill()
    assert said["seccomp"] == HERE.seccomp
    assert said["landlock"] == HERE.landlock


@LINUX
def test_a_reader_has_one_file_open_and_none_while_idle(tmp_path: Path) -> None:
    path = face_set(tmp_path)
    for _ in range(2):
        with open_confined("hdf5_reader", path) as file:
            process = file.process.process.pid
            assert opened_files(process) == [str(path)]
            assert_confined(process)
        assert opened_files(process) == []


@LINUX
def test_a_refused_file_does_not_stay_open(tmp_path: Path) -> None:
    path = face_set(tmp_path)
    with h5py.File(path, "a"):
        for _ in range(3):
            with (
                pytest.raises(Exception, match="open for writing"),
                open_confined("hdf5_reader", path),
            ):
                pass
    with open_confined("hdf5_reader", path) as file:
        assert file.ask("kind", "data") == "a dataset"
        assert opened_files(file.process.process.pid) == [str(path)]


@LINUX
def test_shared_memory_cannot_be_resized(tmp_path: Path) -> None:
    """A process that accesses mapped memory which another one has truncated gets SIGBUS."""
    with open_confined("hdf5_reader", face_set(tmp_path)) as file:
        entries = list(Path(f"/proc/{file.process.process.pid}/fd").iterdir())
        (memory,) = (entry for entry in entries if "memfd" in str(entry.readlink()))
        assert memory.stat().st_size == SHARED_BYTES
        for size in (0, 2 * SHARED_BYTES):
            with pytest.raises(PermissionError):
                os.truncate(memory, size)


ELSEWHERE = """
import fcntl, h5py, resource, runpy, socket, sys, zipfile
sys.platform = sys.argv.pop(1)
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@LINUX
@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_read_files_and_report_their_protections(tmp_path: Path, system: str) -> None:
    """Without shared memory; on Windows also without passing descriptors."""
    path = face_set(tmp_path)
    here, there = socket.socketpair()
    passed = (there.fileno(),) if system == "darwin" else ()
    with (
        here,
        there,
        path.open("rb") as file,
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                ELSEWHERE,
                system,
                str(PROGRAM),
                "hdf5_reader",
                *map(str, passed),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=passed,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        answers: list[object] = []
        for request in (["protections", []], ["open", [str(path)]], ["read", ["data", [2, 5]]]):
            if request[0] == "open" and passed:
                socket.send_fds(here, [b"."], [file.fileno()])
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answers.append(json.loads(process.stdout.readline()))
        data = process.stdout.read(24)
        process.kill()
    limits = [f"RLIMIT_{name}" for name in ("CORE", "FSIZE", "NPROC", "CPU", "NOFILE")]
    said = {"limits": limits if passed else [], "landlock": 0, "seccomp": False}
    assert answers == [{"value": said}, {"value": None}, {"value": 24}]
    assert np.frombuffer(data, np.int64).tolist() == [2, 3, 4]


# How the seccomp policy of a container or service may answer both system calls.
POLICIES = {"EPERM": 0x00050001, "ENOSYS": 0x00050026, "death": 0x80000000}
UNDER_A_POLICY = """
import ctypes, json, os, struct, sys
from pathlib import Path
from ytf_torch.disk.confined import open_confined, protections
answer, path = int(sys.argv[1]), Path(sys.argv[2])
numbers = (444, {"x86_64": 317, "aarch64": 277}[os.uname().machine])
code = struct.pack("=HBBI", 0x20, 0, 0, 0)
for number in numbers:
    code += struct.pack("=HBBIHBBI", 0x15, 0, 1, number, 0x06, 0, 0, answer)
code += struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
kept = ctypes.create_string_buffer(code)
libc = ctypes.CDLL(None)
assert libc.prctl(38, *map(ctypes.c_ulong, (1, 0, 0, 0))) == 0
counted = struct.pack("@HP", len(code) // 8, ctypes.addressof(kept))
assert libc.prctl(22, ctypes.c_ulong(2), counted) == 0
with open_confined("hdf5_reader", path) as file:
    assert file.ask("kind", "data") == "a dataset"
found = protections()
print(json.dumps([found.limits, found.landlock, found.seccomp]))
"""


@FILTERED
@pytest.mark.parametrize("answer", POLICIES)
def test_under_a_policy_that_forbids_both_files_are_read_and_it_is_reported(
    tmp_path: Path, answer: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_POLICY, str(POLICIES[answer]), str(face_set(tmp_path))],
        capture_output=True,
        check=False,
        cwd=ROOT,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    limits, landlock, seccomp = json.loads(done.stdout)
    assert "RLIMIT_NOFILE" in limits
    assert (landlock, seccomp) == (0, False)


@LINUX
def test_all_protections_of_this_machine_are_reported() -> None:
    every = ("CORE", "FSIZE", "NPROC", "CPU", "NOFILE", "AS")
    assert (
        Protections(tuple(f"RLIMIT_{name}" for name in every), HERE.landlock, HERE.seccomp) == HERE
    )


def answer_of(filter_program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """The answer of a filter to a system call, by an interpreter of classic BPF."""
    data = struct.pack("=iIQ", number, architecture, 0)
    data += struct.pack("=6Q", *arguments, *[0] * (6 - len(arguments)))
    value, at = 0, 0
    while True:
        code, skip, otherwise, operand = struct.unpack_from("=HBBI", filter_program, 8 * at)
        at += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("=I", data, operand)
            case 0x54:
                value &= operand
            case 0x15:
                at += skip if value == operand else otherwise
            case 0x06:
                return operand
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


# Numbers of calls that open, start, connect, signal, raise or load something.
DENIED = {
    "x86_64": (2, 257, 437, 85, 59, 322, 41, 42, 101, 57, 58, 56, 435, 62, 97, 160, 302, 4, 425),
    "aarch64": (56, 437, 221, 281, 198, 203, 117, 220, 435, 129, 163, 164, 261, 425, 265, 270),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_filter_allows_the_listed_calls_and_nothing_else(name: str) -> None:
    """On both architectures, whichever this machine has."""
    here = ARCHITECTURES[name]
    code = program(here, process=77)
    allowed = {numbers[here.column] for numbers in CALLS.values()}
    some = {call.numbers[here.column] for call in conditions(77).values()}
    assert not (allowed | some) & set(DENIED[name])
    for number in range(1000):
        wanted = ALLOW if number in allowed else DENY
        if number not in some:
            assert answer_of(code, here.audit, number) == wanted, number
            # The same numbers, asked for by 32-bit code, and by x32's.
            assert answer_of(code, 0x40000003, number) == DENY
            assert answer_of(code, here.audit, number | 0x40000000) == DENY


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(
    ("call", "allowed", "denied"),
    [
        ("mmap", (0, 4096, 3), (0, 4096, 7)),
        ("mprotect", (0, 4096, 1), (0, 4096, 5)),
        ("newfstatat", (3, 0, 0, 0x1000), (-1 & 2**64 - 1, 0, 0, 0)),
        ("setitimer", (2,), (0,)),
        ("tgkill", (77, 77, 6), (78, 78, 6)),
    ],
)
def test_some_calls_are_allowed_only_with_certain_arguments(
    name: str, call: str, allowed: tuple[int, ...], denied: tuple[int, ...]
) -> None:
    here = ARCHITECTURES[name]
    code, number = program(here, process=77), conditions(77)[call].numbers[here.column]
    assert answer_of(code, here.audit, number, *allowed) == ALLOW
    assert answer_of(code, here.audit, number, *denied) == DENY
