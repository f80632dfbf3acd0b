"""The entry points of all commands, named by pyproject.toml.

Signals and standard streams are set up before heavy imports: importing PyTorch takes seconds, and
Ctrl-C has to work during that time as it does later.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
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
from ytf_torch.run.process import keep_memory as keep_memory
from ytf_torch.run.process import set_up_process


def start(command: str) -> NoReturn:
    """Run the command of a module of this package on sys.argv, and exit with its status."""
    out, _ = open_streams()
    Process.ours = True
    handle(end_at_once)
    set_up_process()
    # Clear the owner's bits of the umask: a run has to read and replace its own files. The bits of
    # group and others stay as the user set them.
    os.umask(os.umask(0o077) & 0o077)
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
