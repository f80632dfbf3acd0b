"""How commands end: every error and signal becomes one line on standard error and an exit status.

Nothing heavy is imported here, as this has to work before PyTorch is loaded.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from ytf_torch.distributed import is_first_to_report, launched
from ytf_torch.errors import (
    InputError,
    ProcessLostError,
    WorkerFaultError,
    is_out_of_memory,
    printable,
)

PROCESS_LOST = 1
USER_ERROR = 2
# EX_SOFTWARE of sysexits.h (BSD): an internal error.
OUR_FAULT = 70
# A shell reports 128 + signal number; SIGPIPE, 13, ends most programs whose reader is gone.
BROKEN_PIPE = 128 + 13
# SIGHUP is sent when the terminal is closed. Windows has no such signal.
STOPPING = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
Handler = Callable[[int, FrameType | None], object] | int | None


class StoppedError(BaseException):
    """A signal of STOPPING was received. A BaseException, so that `except Exception` does not
    catch it."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def one_line_errors(when_stopped: str = "") -> Iterator[None]:
    """Turn any exception or signal in this block into one line on standard error and SystemExit.

    Exit status: 2 for errors that the user can fix (InputError, a full disk, too little memory), 1
    a lost process of a distributed run, 130 SIGINT, 143 SIGTERM, 129 SIGHUP, 141 closed output
    pipe, 70 internal error. Of several processes of a run, one prints. Blocks may be nested; the
    innermost one prints.

    when_stopped: advice after a signal.
    """
    advice = f". {when_stopped}" if when_stopped else ""
    with _Stopping() as stopping:
        try:
            yield
        except (Exception, StoppedError, KeyboardInterrupt) as error:
            # Libraries may convert the exception of a signal handler into one of their own, so the
            # recorded signal counts rather than the exception's type.
            cause = error if stopping.number is None else StoppedError(stopping.number)
            raise SystemExit(tell(cause, advice)) from error


class _Stopping:
    """Makes the signals of STOPPING raise StoppedError within a block.

    number: the received signal. lost: whether its exception was discarded by Python.
    """

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
        second = self.number is not None and not self.lost
        # A second signal does not wait for clean-up. While PyTorch loads there is nothing to clean
        # up, and an exception in its C++ initialization would abort the process (SIGABRT).
        if second or _is_loading_pytorch(frame):
            end_at_once(number, frame)
        self.number, self.lost = signal.Signals(number), False
        raise StoppedError(self.number)

    def unraisable(self, unraised: sys.UnraisableHookArgs) -> None:
        """See sys.unraisablehook: an exception in a destructor is discarded by Python, so the
        signal is sent again."""
        if unraised.exc_type is StoppedError:
            self.lost = True
            threading.Timer(0.01, os.kill, (os.getpid(), self.number)).start()
        else:
            self.hook(unraised)


def _is_loading_pytorch(frame: FrameType | None) -> bool:
    """Whether the interrupted code is part of the first import of PyTorch."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "torch":
            return True
        frame = frame.f_back
    return False


def handle(handler: Handler) -> dict[signal.Signals, Handler]:
    """Install a handler for the signals of STOPPING; returns the previous handlers.

    Ignored signals (nohup, background jobs of a shell) stay ignored. Does nothing outside the main
    thread, where Python does not allow it.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {number: signal.getsignal(number) for number in STOPPING}
    before = {number: old for number, old in before.items() if old != signal.SIG_IGN}
    for number in before:
        signal.signal(number, handler)
    return before


def end_at_once(number: int, frame: FrameType | None) -> None:
    """A signal handler that ends this process immediately, with one line on standard error.

    Nothing is printed where torchrun started this process: torchrun reports the signal itself, and
    it also sends SIGTERM when another process has failed, which has then printed why.
    """
    try:
        if not launched():
            # os.write and os._exit, because the interrupted code may hold locks of sys.stderr.
            os.write(2, f"error: stopped by {signal.Signals(number).name}\n".encode())
    finally:
        os._exit(128 + number)


def tell(error: BaseException, when_stopped: str = "") -> int:
    """Print the line of an exception that ends a command. Returns the exit status."""
    if isinstance(error, StoppedError | KeyboardInterrupt):
        number = error.number if isinstance(error, StoppedError) else signal.SIGINT
        report(f"stopped by {number.name}{when_stopped}")
        return 128 + number
    line, status = _line_and_status(error)
    if line:
        report(line)
    return status


def as_flag(name: str, value: str | None) -> str:
    """The command line's form of an argument of the library: `clean_valid` → `--clean-valid`."""
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
    # Typer's exceptions (Exit and usage errors), whose classes are private to it.
    if (status := getattr(error, "exit_code", None)) is not None:
        text = getattr(error, "format_message", str)()
        return f"{printable(text)} (see --help)" if text else "", int(status)
    if isinstance(error, WorkerFaultError):
        description, place = error.args
    else:
        description, place = f"{type(error).__name__}: {error}", _place(error.__traceback__)
    description = printable(description)[:500]
    return f"a fault of ytf-torch, please report it: {description} ({place})", OUR_FAULT


def _place(trace: TracebackType | None) -> str:
    place = "unknown place"
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{code.co_filename.rsplit(os.sep)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def report(line: str) -> None:
    """Print an error on standard error. Of several processes, only the first to fail prints."""
    if is_first_to_report():
        print(f"error: {line}", file=sys.stderr, flush=True)
