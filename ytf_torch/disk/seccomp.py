"""A filter of system calls (seccomp-BPF, Linux) for the processes that parse strangers' files.

It lists what a reader still needs once it has started: to read and write what is open already,
memory, the clock, and to end. Everything else fails with EPERM: to open a file by whatever call,
to start a process or a program, sockets, signals to others, limits, calls that kernels to come
will add.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from dataclasses import dataclass

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1  # for all threads of the process
ALLOW, DENY = 0x7FFF0000, 0x00050000 | errno.EPERM
# Instructions: load a word of struct seccomp_data, compare it, mask it, answer.
LOAD, EQUAL, MASK, ANSWER = 0x20, 0x15, 0x54, 0x06
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16

PROT_EXEC, AT_EMPTY_PATH, ITIMER_PROF = 4, 0x1000, 2


@dataclass(frozen=True)
class Architecture:
    """audit: the kernel's name for it. place: of its numbers in CALLS. seccomp: the number of the
    call that installs a filter."""

    audit: int
    place: int
    seccomp: int


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, 0, 317),
    "aarch64": Architecture(0xC00000B7, 1, 277),
}
# Numbers on x86_64 and aarch64 of what may be called in any way.
CALLS = {
    "read": (0, 63),
    "readv": (19, 65),
    "pread64": (17, 67),
    "lseek": (8, 62),
    "fstat": (5, 80),
    "flock": (73, 32),
    "write": (1, 64),
    "writev": (20, 66),
    "close": (3, 57),
    "recvmsg": (47, 212),  # the next file comes as a descriptor
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getcpu": (309, 168),
    "membarrier": (324, 283),
    "getrandom": (318, 278),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrusage": (98, 165),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "restart_syscall": (219, 128),
    "rt_sigreturn": (15, 139),
    "exit": (60, 93),
    "exit_group": (231, 94),
}


@dataclass(frozen=True)
class Condition:
    """A call that is allowed where `argument & mask == value` of its lower 32 bits."""

    numbers: tuple[int, int]
    argument: int
    mask: int
    value: int


def conditions(process: int) -> dict[str, Condition]:
    """Calls that are allowed with some arguments only, in the process of this id."""
    every_bit = 0xFFFFFFFF
    return {
        "mmap": Condition((9, 222), 2, PROT_EXEC, 0),
        "mprotect": Condition((10, 226), 2, PROT_EXEC, 0),
        # How libraries of C ask for the size of an open file. A filter cannot see whether a path
        # is given too, so whether a file is there, and its size, can still be asked.
        "newfstatat": Condition((262, 79), 3, every_bit, AT_EMPTY_PATH),
        "setitimer": Condition((38, 103), 0, every_bit, ITIMER_PROF),
        "tgkill": Condition((234, 131), 0, every_bit, process),  # abort()
    }


def _instruction(code: int, value: int, skip: int = 0, otherwise_skip: int = 0) -> bytes:
    """skip: how many of the next instructions to leave out where a comparison holds."""
    return struct.pack("=HBBI", code, skip, otherwise_skip, value)


def program(architecture: Architecture, process: int) -> bytes:
    """The filter for a process, as instructions of classic BPF."""
    place = architecture.place
    lines = [
        # The numbers mean other calls to code of another architecture, 32 bits for example.
        _instruction(LOAD, ARCHITECTURE_AT),
        _instruction(EQUAL, architecture.audit, skip=1),
        _instruction(ANSWER, DENY),
        _instruction(LOAD, NUMBER_AT),
        _instruction(LOAD, NUMBER_AT),
    ]
    for numbers in CALLS.values():
        lines += [
            _instruction(EQUAL, numbers[place], otherwise_skip=1),
            _instruction(ANSWER, ALLOW),
        ]
    for call in conditions(process).values():
        lines += [
            _instruction(EQUAL, call.numbers[place], otherwise_skip=5),
            # Both architectures keep the lower half of a 64-bit argument first.
            _instruction(LOAD, ARGUMENTS_AT + 8 * call.argument),
            _instruction(MASK, call.mask),
            _instruction(EQUAL, call.value, otherwise_skip=1),
            _instruction(ANSWER, ALLOW),
            _instruction(ANSWER, DENY),
        ]
    return b"".join([*lines, _instruction(ANSWER, DENY)])


def install_filter(libc: ctypes.CDLL) -> bool:
    """Filter the system calls of this process from now on. Whether that could be had; it needs
    PR_SET_NO_NEW_PRIVS."""
    architecture = ARCHITECTURES.get(os.uname().machine)
    if architecture is None or sys.maxsize < 2**32:
        return False
    instructions = program(architecture, os.getpid())
    kept = ctypes.create_string_buffer(instructions)
    counted = struct.pack("@HP", len(instructions) // 8, ctypes.addressof(kept))  # sock_fprog
    # Of several threads one may be in the way, whose number is the answer then.
    answer: int = libc.syscall(
        ctypes.c_long(architecture.seccomp),
        ctypes.c_long(SECCOMP_SET_MODE_FILTER),
        ctypes.c_long(SECCOMP_FILTER_FLAG_TSYNC),
        counted,
    )
    return answer == 0
