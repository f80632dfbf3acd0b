"""The entry points of all commands, named by pyproject.toml.

Signals and standard streams are set up before heavy imports: importing PyTorch takes seconds, and
Ctrl-C has to work during that time as it does later.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import platform
import signal
import sys
import warnings
from functools import partial
from importlib import import_module
from typing import NoReturn

from ytf_torch.commands.endings import (
    BROKEN_PIPE,
    USER_ERROR,
    end_at_once,
    handle,
    report,
    tell,
)
from ytf_torch.commands.streams import Stream, open_streams
from ytf_torch.report.surroundings import Process

# The number of new objects that triggers a garbage collection; Python's default is 700.
GARBAGE_AFTER = 100_000
# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def start(command: str) -> NoReturn:
    """Run the command of a module of this package on sys.argv, and exit with its status."""
    out, _ = open_streams()
    Process.ours = True
    handle(end_at_once)
    # By default OpenMP threads wait by spinning. On a busy machine they occupy the cores that the
    # awaited thread needs: a training step took 4 to 17 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    # Clear the owner's bits of the umask: a run has to read and replace its own files. The bits of
    # group and others stay as the user set them.
    os.umask(os.umask(0o077) & 0o077)
    if not sys.warnoptions:  # Errors are one line, without warnings of libraries around them.
        warnings.simplefilter("ignore")
    # PyTorch creates half a million objects that live until the end. Collecting garbage among them
    # takes half a second during the import, and half a second at exit (see gc.freeze below).
    gc.set_threshold(GARBAGE_AFTER)
    status = 0
    try:
        import_module(f"ytf_torch.commands.{command}").app()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except BaseException as error:
        status = tell(error)
    # The work is finished: a signal during shutdown must not change the exit status.
    handle(signal.SIG_IGN)
    gc.freeze()
    sys.exit(status or _status_of(out))


def keep_memory() -> None:
    """Make glibc's malloc reuse freed blocks instead of returning them to the system.

    By default it unmaps blocks as large as feature maps, and the kernel has to zero their pages
    again, one by one, for the next batch: a quarter of the time of a training step. The setting is
    process-wide, so commands call this, not the library.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
        library.mallopt(M_TRIM_THRESHOLD, 2**30)


def _status_of(out: Stream) -> int:
    """The exit status of a finished command: an error if its output could not be printed."""
    out.flush()
    if out.failure is None or out.failure.errno == errno.EBADF:  # closed on purpose
        return 0
    if isinstance(out.failure, BrokenPipeError):
        return BROKEN_PIPE
    report(f"standard output: cannot be written ({out.failure.strerror})")
    return USER_ERROR


convert = partial(start, "convert")
prune = partial(start, "prune")
detect = partial(start, "detect")
evaluate = partial(start, "evaluate")
repair = partial(start, "repair")
scan = partial(start, "scan")
compare = partial(start, "compare")
export = partial(start, "export")
demo = partial(start, "demo")
audit = partial(start, "audit")
