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

from ytf_torch.errors import InputError, printable
from ytf_torch.sweep import Batch, Track

USER_ERROR = 2

out = Console(highlight=False)


def say(line: str) -> None:
    """Print one line as it is: unprintable characters escaped, no markup, no wrapping."""
    out.print(Text(printable(line)), soft_wrap=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns an InputError into one line on standard error and exit status 2."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(USER_ERROR) from error


@contextmanager
def progress_bars() -> Iterator[Track]:
    """A Track that draws one bar for each phase on standard error, with the time left."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("faces"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def track(batches: Iterable[Batch], phase: str, images: int) -> Iterator[Batch]:
            task = progress.add_task(phase, total=images)
            for batch in batches:
                yield batch
                progress.advance(task, len(batch.labels))

        yield track
