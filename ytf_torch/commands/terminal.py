"""What the commands share: how errors, progress and figures appear in a terminal."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ytf_torch.distributed import ProcessLostError, is_first, is_first_to_report
from ytf_torch.errors import InputError, printable
from ytf_torch.network.pixel_scale import pixel_scale_text
from ytf_torch.progress import Track
from ytf_torch.run.pair import Opened

PROCESS_LOST = 1
USER_ERROR = 2

out = Console(highlight=False)


def say(line: str) -> None:
    """Print one line as it is: unprintable characters escaped, no markup, no wrapping."""
    out.print(Text(printable(line)), soft_wrap=True)


def note(line: str) -> None:
    """Print one line as it is on standard error, beside what a command answers."""
    print(printable(line), file=sys.stderr)


def note_doubts(opened: Opened) -> None:
    """Print what speaks against the networks, before their answers."""
    for doubt in opened.doubts:
        note(f"warning: {doubt}")


def pixel_scale_line(opened: Opened) -> str:
    """The pixel scale, and who told it."""
    scale = pixel_scale_text(opened.badnet.provenance.pixel_scale)
    told = {"asked": "as asked for", "file": "as the model's file tells"}.get(opened.scale_from)
    assumed = "assumed, for no Keras file tells it: CSAW-2020's networks need --pixel-scale 1/255"
    return f"Pixel scale {scale}, {told or assumed}."


class _TerminatedError(BaseException):
    """SIGTERM has come; a BaseException, as KeyboardInterrupt is."""


def _raise_terminated(signum: int, frame: FrameType | None) -> NoReturn:
    raise _TerminatedError


@contextmanager
def one_line_errors(when_stopped: str = "") -> Iterator[None]:
    """Turns an InputError into one line on standard error and exit status 2, the loss of a process
    into status 1, SIGINT into 130 and SIGTERM into 143. Of several processes one prints.

    when_stopped: what a user can do after a signal.
    """
    advice = f". {when_stopped}" if when_stopped else ""
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _raise_terminated) if in_main else None
    try:
        yield
    except (InputError, ProcessLostError) as error:
        _report(str(error))
        raise typer.Exit(USER_ERROR if isinstance(error, InputError) else PROCESS_LOST) from error
    except (KeyboardInterrupt, _TerminatedError) as error:
        number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
        _report(f"stopped by {number.name}{advice}")
        raise typer.Exit(128 + number) from error
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)


def _report(line: str) -> None:
    if is_first_to_report():
        print(f"error: {line}", file=sys.stderr, flush=True)


@contextmanager
def progress_bars() -> Iterator[Track]:
    """A Track that draws one bar for each phase on standard error, with the time left.

    Of several processes the first draws, and what it draws is its own share.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("faces"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not is_first()) as progress:

        def track(phase: str, images: int) -> Callable[[int], None]:
            return partial(progress.advance, progress.add_task(phase, total=images))

        yield track
