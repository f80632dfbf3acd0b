"""What the commands share: how errors, progress and figures appear in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

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
from ytf_torch.sweep import Batch, Track

PROCESS_LOST = 1
USER_ERROR = 2

out = Console(highlight=False)


def say(line: str) -> None:
    """Print one line as it is: unprintable characters escaped, no markup, no wrapping."""
    out.print(Text(printable(line)), soft_wrap=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns an InputError into one line on standard error and exit status 2, and the loss of a
    process into status 1. Of several processes one prints.
    """
    try:
        yield
    except (InputError, ProcessLostError) as error:
        if is_first_to_report():
            print(f"error: {error}", file=sys.stderr, flush=True)
        raise typer.Exit(USER_ERROR if isinstance(error, InputError) else PROCESS_LOST) from error


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

        def track(batches: Iterable[Batch], phase: str, images: int) -> Iterator[Batch]:
            task = progress.add_task(phase, total=images)
            for batch in batches:
                yield batch
                progress.advance(task, len(batch.labels))

        yield track
