"""Kernel restrictions on a process that parses untrusted files: see confinement.py.

They are in force before the first byte of a file is parsed, and the process cannot lift them: hard
resource limits, Landlock (no access to any path) and a system call filter (seccomp.py). The layers
are independent: each still holds where a kernel lacks another one or a container's policy forbids
it. `protections()` of confined.py reports what is in force.
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
CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
# landlock_create_ruleset(2) and landlock_restrict_self(2): the same numbers on every architecture.
CREATE_RULESET, RESTRICT_SELF = 444, 446
CREATE_RULESET_VERSION = 1  # the flag LANDLOCK_CREATE_RULESET_VERSION
# Access rights by the ABI version of Landlock that introduced them. All of them are denied.
FILE_ACCESS = {1: 0x1FFF, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
NET_ACCESS = {4: 0b11}  # bind and connect TCP sockets
SCOPES = {6: 0b11}  # abstract Unix sockets of other processes, and signals to them
# CPU time of the whole process: a backstop, as the limit for one file depends on its size.
LIFETIME_SECONDS = 86_400


@dataclass(frozen=True)
class Protections:
    """The kernel restrictions in force in a reader, in addition to its own checks.

    limits: names of the hard resource limits. landlock: its ABI version, 0 if not in force.
    seccomp: whether system calls are filtered.
    """

    limits: tuple[str, ...] = ()
    landlock: int = 0
    seccomp: bool = False


def protect(max_memory: int) -> Protections:
    """Confine this process irrevocably. It may open one more descriptor at a time: its file's.

    max_memory: bytes of address space that it may use on top of what it uses now. Enforced on
    Linux only.
    """
    if sys.platform == "win32":
        return Protections()
    # Before Landlock and the filter are in force: they would deny to read /proc.
    memory = _address_space()
    libc = _libc_without_privileges()
    landlock, filters = 0, False
    if libc is not None:
        # Tried in a child first, as the child cannot be forked once RLIMIT_NPROC is 0.
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
    enforced = tuple(name for name, value in limits.items() if limit(name, value))
    # The filter comes last, because it denies the calls that set up everything else.
    return Protections(enforced, landlock, filters and libc is not None and install_filter(libc))


def limit(name: str, value: int) -> bool:
    """Set a resource's soft and hard limit to at most `value`. Returns whether it is in force."""
    number = getattr(resource, name, None)
    if number is None:
        return False
    hard_limit = resource.getrlimit(number)[1]
    allowed = value if hard_limit == resource.RLIM_INFINITY else min(value, hard_limit)
    try:
        resource.setrlimit(number, (allowed, allowed))
    except (OSError, ValueError):
        return False
    # Read back: a system may accept a limit without applying it.
    return resource.getrlimit(number) == (allowed, allowed)


def deny_paths(libc: ctypes.CDLL) -> int:
    """Deny this process by Landlock to open, list, create or remove any path, and to connect TCP
    sockets. Returns the ABI version of Landlock in force, 0 if there is none."""

    def call(number: int, *arguments: object) -> int:
        # ctypes would pass a Python int as 32 bits; syscall(2) reads 64.
        words = (ctypes.c_long(value) if isinstance(value, int) else value for value in arguments)
        answer: int = libc.syscall(ctypes.c_long(number), *words)
        return answer

    version = call(CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    if version < 1:
        return 0
    denied = [
        sum(bits for since, bits in rights.items() if since <= version)
        for rights in (FILE_ACCESS, NET_ACCESS, SCOPES)
    ]
    # struct landlock_ruleset_attr. Older kernels know a shorter one, and accept this if the fields
    # that they do not know are zero.
    attributes = struct.pack("=QQQ", *denied)
    ruleset = call(CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return 0
    restricted = call(RESTRICT_SELF, ruleset, 0) == 0  # without a rule, every path is denied
    os.close(ruleset)
    return version if restricted else 0


def _libc_without_privileges() -> ctypes.CDLL | None:
    """Drop all capabilities, set PR_SET_NO_NEW_PRIVS, which Landlock and seccomp require, and
    return the C library; None if the system has neither."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    # With CAP_SYS_RESOURCE, root's process could raise hard limits again. No later step needs a
    # capability.
    libc.capset(struct.pack("=Ii", CAPABILITY_VERSION, 0), bytes(24))
    status: int = libc.prctl(PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    return libc if status == 0 else None


def _survives(libc: ctypes.CDLL, attempt: Callable[[], object]) -> bool:
    """Whether this process would survive `attempt`: the seccomp policy of a container or service
    may kill it for a system call. Tried in a forked child if this process is under a policy."""
    if libc.prctl(PR_GET_SECCOMP, *map(ctypes.c_ulong, (0, 0, 0, 0))) == 0:
        return True
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        attempt()
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _address_space() -> int | None:
    """Bytes of address space in use; None where it cannot be read, or not be limited."""
    if sys.platform != "linux":
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _lowest_free_descriptor() -> int:
    """The number that the next opened file gets."""
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor
