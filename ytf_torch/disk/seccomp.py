"""The system call filter (seccomp-BPF, Linux) of the processes that parse untrusted files.

It is an allow list of what a reader still needs once it has started: reading and writing
descriptors that are already open, memory, the clock, and exit. Every other call fails with EPERM:
opening a file by any call, starting a process or program, creating sockets, signalling other
processes, changing limits, and calls that future kernels will add.

A denied call fails instead of killing the process, so that a library can fall back, or the reader
can report an error.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from dataclasses import dataclass

SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1  # filter all threads of the process
# SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with the error number in its lower 16 bits.
ALLOW, DENY = 0x7FFF0000, 0x00050000 | errno.EPERM
# Classic BPF instructions: BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_ALU|BPF_AND|BPF_K,
# BPF_RET|BPF_K.
LOAD, EQUAL, MASK, ANSWER = 0x20, 0x15, 0x54, 0x06
# Byte offsets in struct seccomp_data: nr, arch, args[0].
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16

PROT_EXEC, AT_EMPTY_PATH, ITIMER_PROF = 4, 0x1000, 2


@dataclass(frozen=True)
class Architecture:
    """A processor architecture.

    audit: the kernel's AUDIT_ARCH_… constant for it. column: which number of each pair in CALLS is
    its own. seccomp: the number of the system call seccomp(2).
    """

    audit: int
    column: int
    seccomp: int


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, 0, 317),
    "aarch64": Architecture(0xC00000B7, 1, 277),
}
# Calls that are allowed with any arguments: their numbers on x86_64 and aarch64.
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
    "recvmsg": (47, 212),  # receives the descriptor of the next file
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
    "getpid": (39, 172),  # and gettid: abort() signals the calling thread of its own process
    "gettid": (186, 178),
    "getrusage": (98, 165),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "restart_syscall": (219, 128),  # how the kernel resumes an interrupted sleep
    "rt_sigreturn": (15, 139),  # the return from a signal handler
    "exit": (60, 93),
    "exit_group": (231, 94),
}


@dataclass(frozen=True)
class Condition:
    """Allows a call if `arguments[argument] & mask == value`, on the argument's lower 32 bits.

    numbers: as in CALLS. argument: index of the argument.
    """

    numbers: tuple[int, int]
    argument: int
    mask: int
    value: int


def conditions(process: int) -> dict[str, Condition]:
    """Calls that are allowed only with certain arguments. process: id of the filtered process."""
    every_bit = 0xFFFFFFFF  # the argument must be equal to the value
    return {
        # No executable memory: injected machine code could not be run from it.
        "mmap": Condition((9, 222), 2, PROT_EXEC, 0),
        "mprotect": Condition((10, 226), 2, PROT_EXEC, 0),
        # C libraries implement fstat by it. A filter cannot look behind the path pointer, so a
        # reader can still learn whether a file exists, and its size.
        "newfstatat": Condition((262, 79), 3, every_bit, AT_EMPTY_PATH),
        "setitimer": Condition((38, 103), 0, every_bit, ITIMER_PROF),  # the CPU limit of a file
        "tgkill": Condition((234, 131), 0, every_bit, process),  # abort() signals its own process
    }


def _instruction(code: int, value: int, skip: int = 0, otherwise_skip: int = 0) -> bytes:
    """One BPF instruction, a struct sock_filter.

    skip, otherwise_skip: how many instructions to jump over if a comparison holds, or does not.
    """
    return struct.pack("=HBBI", code, skip, otherwise_skip, value)


def program(architecture: Architecture, process: int) -> bytes:
    """The filter for a process, as classic BPF instructions of 8 bytes each."""
    column = architecture.column
    lines = [
        # Code of another architecture, such as 32-bit code on x86_64, uses the same numbers for
        # other calls. Without this check it would get past the list.
        _instruction(LOAD, ARCHITECTURE_AT),
        _instruction(EQUAL, architecture.audit, skip=1),
        _instruction(ANSWER, DENY),
        _instruction(LOAD, NUMBER_AT),
        _instruction(LOAD, NUMBER_AT),
    ]
    for numbers in CALLS.values():
        lines += [
            _instruction(EQUAL, numbers[column], otherwise_skip=1),
            _instruction(ANSWER, ALLOW),
        ]
    for call in conditions(process).values():
        lines += [
            _instruction(EQUAL, call.numbers[column], otherwise_skip=5),
            # BPF loads 32 bits. Both architectures are little-endian: the lower half comes first.
            _instruction(LOAD, ARGUMENTS_AT + 8 * call.argument),
            _instruction(MASK, call.mask),
            _instruction(EQUAL, call.value, otherwise_skip=1),
            _instruction(ANSWER, ALLOW),
            _instruction(ANSWER, DENY),
        ]
    return b"".join([*lines, _instruction(ANSWER, DENY)])  # everything that is not listed


def install_filter(libc: ctypes.CDLL) -> bool:
    """Filter the system calls of this process from now on. Returns whether that succeeded.

    Requires PR_SET_NO_NEW_PRIVS. A filter cannot be removed.
    """
    architecture = ARCHITECTURES.get(os.uname().machine)
    if architecture is None or sys.maxsize < 2**32:  # a 32-bit Python uses other call numbers
        return False
    instructions = program(architecture, os.getpid())
    buffer = ctypes.create_string_buffer(instructions)  # alive until the kernel has copied it
    sock_fprog = struct.pack("@HP", len(instructions) // 8, ctypes.addressof(buffer))
    # With TSYNC, a positive answer is the id of a thread that could not be filtered.
    answer: int = libc.syscall(
        ctypes.c_long(architecture.seccomp),
        ctypes.c_long(SECCOMP_SET_MODE_FILTER),
        ctypes.c_long(SECCOMP_FILTER_FLAG_TSYNC),
        sock_fprog,
    )
    return answer == 0
