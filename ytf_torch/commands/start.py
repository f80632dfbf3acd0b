"""Where every command starts, before anything heavy is loaded.

pyproject.toml names the functions below. Importing PyTorch takes seconds, in which a Ctrl-C has to
end a command as it does later.
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

# New objects after which Python looks for garbage; it would after 700.
GARBAGE_AFTER = 100_000
# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def start(command: str) -> NoReturn:
    """Run the command of a module of this package on sys.argv, and exit with its status."""
    out, _ = open_streams()
    Process.ours = True
    handle(end_at_once)
    # OpenMP's threads would spin while they wait for each other. On a machine with other work that
    # takes the cores from the thread they wait for: a training step took 4 to 17 times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_memory()
    # A run has to be able to read what it writes, whatever it lets others do with it.
    os.umask(os.umask(0o077) & 0o077)
    if not sys.warnoptions:  # An error is one line; a library's warning would stand beside it.
        warnings.simplefilter("ignore")
    # PyTorch's half a million objects are there to stay. Looking for garbage among them while they
    # are made, and once more at the end, takes half a second each.
    gc.set_threshold(GARBAGE_AFTER)
    status = 0
    try:
        import_module(f"ytf_torch.commands.{command}").app()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except BaseException as error:
        status = tell(error)
    # All is done, and a signal on the way out must not tell otherwise.
    handle(signal.SIG_IGN)
    gc.freeze()
    sys.exit(status or _status_of(out))


def keep_memory() -> None:
    """Have glibc keep what is freed for whoever wants memory next.

    By default it gives blocks as large as feature maps back to the system, which fills them with
    zeros, page by page, when they are wanted again for the next batch: a quarter of the time of a
    training step. This holds for the whole process: for a command to call, not for the library.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
        library.mallopt(M_TRIM_THRESHOLD, 2**30)


def _status_of(out: Stream) -> int:
    """The exit status of a command that has done its work, from whether its output was printed."""
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
