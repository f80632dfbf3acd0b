"""What the kernel holds a process to that parses strangers' files: see confinement.py.

All of it is in force before the first byte of a file is parsed, and none of it can be taken back
by the process: limits that are hard, Landlock (no access to any path) and a filter of system calls
(seccomp.py). What a kernel lacks, or the policy of a container forbids, is left out, and
`protections()` reports what is in force.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ytf_torch.disk.seccomp import install_filter

if sys.platform != "win32":
    import resource

PR_GET_SECCOMP, PR_SET_NO_NEW_PRIVS = 21, 38
CAPABILITY_VERSION = 0x20080522
# Landlock's system calls have these numbers on every architecture.
CREATE_RULESET, RESTRICT_SELF = 444, 446
CREATE_RULESET_VERSION = 1
# What a version of Landlock can deny, and more from a later version on: everything is denied.
FILE_ACCESS = {1: 0x1FFF, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
NET_ACCESS = {4: 0b11}  # to bind and to connect TCP sockets
SCOPES = {6: 0b11}  # abstract sockets of others, and signals to them
# Of processor time, whatever is read: a backstop, as the time for a file depends on its size.
LIFETIME_SECONDS = 86_400


@dataclass(frozen=True)
class Protections:
    """What is in force in a reader, in addition to its own checks.

    limits: resource limits that are hard, by their names. landlock: its version, 0 where there is
    none. seccomp: whether system calls are filtered.
    """

    limits: tuple[str, ...] = ()
    landlock: int = 0
    seccomp: bool = False


def protect(max_memory: int) -> Protections:
    """Confine this process for good. One descriptor more may be open at a time: its file.

    max_memory: bytes that it may take beyond what it has now, where the system can limit that.
    """
    if sys.platform == "win32":
        return Protections()
    memory = _memory_taken()
    libc = _libc_without_privileges()
    landlock, filters = 0, False
    if libc is not None:
        filters = _survives(libc, lambda: install_filter(libc))
        if _survives(libc, lambda: deny_paths(libc)):
            landlock = deny_paths(libc)
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_NPROC": 0,
        "RLIMIT_CPU": LIFETIME_SECONDS,
        "RLIMIT_NOFILE": _lowest_free_descriptor() + 1,
    }
    if memory is not None:
        limits["RLIMIT_AS"] = memory + max_memory
    held = tuple(name for name, value in limits.items() if limit(name, value))
    return Protections(held, landlock, filters and libc is not None and install_filter(libc))


def limit(name: str, value: int) -> bool:
    """Limit a resource of this process to so much at most, hard. Whether that is in force now."""
    number = getattr(resource, name, None)
    if number is None:
        return False
    before = resource.getrlimit(number)[1]
    allowed = value if before == resource.RLIM_INFINITY else min(value, before)
    try:
        resource.setrlimit(number, (allowed, allowed))
    except (OSError, ValueError):
        return False
    return resource.getrlimit(number) == (allowed, allowed)


def deny_paths(libc: ctypes.CDLL) -> int:
    """No path may be opened, listed, made or removed by this process from now on (Landlock), nor a
    socket of TCP be connected. The version of Landlock that does it, 0 where there is none."""

    def call(number: int, *arguments: object) -> int:
        given = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
        answer: int = libc.syscall(ctypes.c_long(number), *given)
        return answer

    version = call(CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    if version < 1:
        return 0
    denied = [
        sum(bits for since, bits in rights.items() if since <= version)
        for rights in (FILE_ACCESS, NET_ACCESS, SCOPES)
    ]
    # Older kernels know a shorter structure, and take a longer one where the rest of it is zero.
    attributes = struct.pack("=QQQ", *denied)
    ruleset = call(CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return 0
    restricted = call(RESTRICT_SELF, ruleset, 0) == 0  # no rule is added that would allow any
    os.close(ruleset)
    return version if restricted else 0


def _libc_without_privileges() -> ctypes.CDLL | None:
    """The library of C, of a process that has given up its privileges and can gain none, which
    Landlock and seccomp want; None where the system has neither."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    # Root's process could raise hard limits without this; no privilege is needed from here on.
    libc.capset(struct.pack("=Ii", CAPABILITY_VERSION, 0), bytes(24))
    settled: int = libc.prctl(PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    return libc if settled == 0 else None


def _survives(libc: ctypes.CDLL, attempt: Callable[[], object]) -> bool:
    """Whether an attempt is not punished by death: the policy of a container or a service may end
    a process for a system call. Tried in a copy of this process, where there is such a policy."""
    if libc.prctl(PR_GET_SECCOMP, *map(ctypes.c_ulong, (0, 0, 0, 0))) == 0:
        return True
    try:
        copy = os.fork()
    except OSError:
        return False
    if copy == 0:
        attempt()
        os._exit(0)
    return os.waitpid(copy, 0)[1] == 0


def _memory_taken() -> int | None:
    """Bytes of address space, None where they cannot be read and limited."""
    if sys.platform != "linux":
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _lowest_free_descriptor() -> int:
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor
