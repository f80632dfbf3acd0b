"""How every command ends: whatever happens, one line on standard error and an exit status.

Nothing heavy is imported here: this has to work before PyTorch is loaded.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from ytf_torch.errors import InputError, ProcessLostError, is_out_of_memory, printable

PROCESS_LOST = 1
USER_ERROR = 2
# BSD's EX_SOFTWARE: the fault is ours.
OUR_FAULT = 70
# What a shell shows of a program that SIGPIPE ended, as it ends most.
BROKEN_PIPE = 128 + 13
# SIGHUP: the terminal is gone; Windows has none.
STOPPING = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
Handler = Callable[[int, FrameType | None], object] | int | None


class StoppedError(BaseException):
    """One of STOPPING has come; a BaseException, so that no `except Exception` takes it."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def one_line_errors(when_stopped: str = "") -> Iterator[None]:
    """Turns whatever ends this block into one line on standard error and SystemExit.

    Exit status: 2 what the user can mend (InputError, a full disk, too little memory), 1 the loss
    of a process, 130 SIGINT, 143 SIGTERM, 129 SIGHUP, 141 a reader of the output that is gone, 70 a
    fault of ours. Of several processes of a run one prints. Blocks may be nested: the innermost
    tells.

    when_stopped: what a user can do after a signal.
    """
    advice = f". {when_stopped}" if when_stopped else ""
    with _Stopping() as stopping:
        try:
            yield
        except (Exception, StoppedError, KeyboardInterrupt) as error:
            # Libraries turn what a signal handler raises into errors of their own.
            ended = error if stopping.number is None else StoppedError(stopping.number)
            raise SystemExit(tell(ended, advice)) from error


class _Stopping:
    """Has STOPPING raise StoppedError in a block. number: of the one that has come."""

    number: signal.Signals | None = None
    lost = False

    def __enter__(self) -> _Stopping:
        self.handlers, self.hook = handle(self.stop), sys.unraisablehook
        if self.handlers:
            sys.unraisablehook = self.unraisable
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        if self.handlers:
            sys.unraisablehook = self.hook

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.number is not None and not self.lost:
            # Who asks twice does not want to wait until files are cleared away.
            end_at_once(number, frame)
        self.number, self.lost = signal.Signals(number), False
        raise StoppedError(self.number)

    def unraisable(self, found: sys.UnraisableHookArgs) -> None:
        """See sys.unraisablehook: Python drops what is raised while it frees an object, so the
        signal has to come again."""
        if found.exc_type is StoppedError:
            self.lost = True
            threading.Timer(0.01, os.kill, (os.getpid(), self.number)).start()
        else:
            self.hook(found)


def handle(handler: Handler) -> dict[signal.Signals, Handler]:
    """Have STOPPING handled so; the handlers before. Those that are ignored (nohup, a shell's
    background) stay so. Only the main thread can do this, others leave all as it is."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {number: signal.getsignal(number) for number in STOPPING}
    before = {number: old for number, old in before.items() if old != signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    return before


def end_at_once(number: int, frame: FrameType | None) -> None:
    """A signal handler that ends this process with one line, whatever it is doing."""
    try:
        os.write(2, f"error: stopped by {signal.Signals(number).name}\n".encode())
    finally:
        os._exit(128 + number)


def tell(error: BaseException, when_stopped: str = "") -> int:
    """Print the line of an exception that ends a command; the exit status."""
    if isinstance(error, StoppedError | KeyboardInterrupt):
        number = error.number if isinstance(error, StoppedError) else signal.SIGINT
        report(f"stopped by {number.name}{when_stopped}")
        return 128 + number
    line, status = _line_and_status(error)
    if line:
        report(line)
    return status


def as_flag(name: str, value: str | None) -> str:
    """How the command line words an argument of the library."""
    flag = f"--{name.replace('_', '-')}"
    return flag if value is None else f"{flag} {value}"


def _line_and_status(error: BaseException) -> tuple[str, int]:
    if isinstance(error, InputError):
        return error.line(as_flag), USER_ERROR
    if isinstance(error, ProcessLostError):
        return error.line(as_flag), PROCESS_LOST
    if isinstance(error, BrokenPipeError):
        return "", BROKEN_PIPE
    if is_out_of_memory(error):
        return "there is not enough memory for this", USER_ERROR
    if isinstance(error, RecursionError):
        return "something that was given is nested too deeply to be read", USER_ERROR
    if isinstance(error, OSError):
        place = "" if error.filename is None else f"{error.filename}: "
        return printable(f"{place}{error.strerror or error}"), USER_ERROR
    # Typer's own, whose classes it keeps to itself: Exit, and what it says of a command line.
    if (status := getattr(error, "exit_code", None)) is not None:
        text = getattr(error, "format_message", str)()
        return f"{printable(text)} (--help tells more)" if text else "", int(status)
    found = printable(f"{type(error).__name__}: {error}")[:500]
    place = _place(error.__traceback__)
    return f"a fault of ytf-torch, please report it: {found} ({place})", OUR_FAULT


def _place(trace: TracebackType | None) -> str:
    place = "unknown place"
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{code.co_filename.rsplit(os.sep)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def report(line: str) -> None:
    """Print an error's line on standard error; of several processes the first to ask does."""
    # Only where it is loaded: a run that has not come so far has not met its other processes.
    distributed = sys.modules.get("ytf_torch.distributed")
    is_first = getattr(distributed, "is_first_to_report", lambda: True)
    if is_first():
        print(f"error: {line}", file=sys.stderr, flush=True)
