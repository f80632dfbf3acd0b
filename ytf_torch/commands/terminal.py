"""What the commands share: how figures, answers and progress appear in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from importlib.metadata import version
from inspect import Parameter, cleandoc, signature
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn, get_args, get_type_hints

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from typer.core import TyperCommand

from ytf_torch.commands.endings import USER_ERROR as USER_ERROR
from ytf_torch.commands.endings import one_line_errors as one_line_errors
from ytf_torch.distributed import is_first
from ytf_torch.errors import InputError, printable, unwritable
from ytf_torch.progress import Track

out = Console(highlight=False)


def say(line: str) -> None:
    """Print one line as it is: unprintable characters escaped, no markup, no wrapping."""
    out.print(Text(printable(line)), soft_wrap=True)


def note(line: str) -> None:
    """Print one line as it is on standard error, beside what a command answers."""
    print(printable(line), file=sys.stderr)


def _print_version(wanted: bool) -> None:
    """What --version does, before anything else is looked at."""
    if wanted:
        answer(f"ytf-torch {version('ytf-torch')}")
        raise typer.Exit


VERSION = typer.Option(
    "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
)


class Command(TyperCommand):
    """A command whose every end, also a mistake on the command line, is one line and an exit
    status.

    paths: names of the parameters that are paths.
    """

    paths: ClassVar[frozenset[str]] = frozenset()

    def main(self, *args: Any, **settings: Any) -> NoReturn:  # noqa: ANN401
        """See Typer."""
        with one_line_errors():
            status = super().main(*args, **settings | {"standalone_mode": False})
        raise SystemExit(status)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """See Typer, which takes an empty argument for the working folder."""
        taking = (parameter for parameter in self.params if parameter.name in self.paths)
        paths = {flag for parameter in taking for flag in parameter.opts}
        texts = {
            flag
            for parameter in self.params
            if parameter.name not in self.paths and not getattr(parameter, "is_flag", False)
            for flag in parameter.opts
        }
        for before, argument in zip(["", *args], args, strict=False):
            flag, value = argument.removesuffix("="), argument.partition("=")[2]
            if not argument and before not in texts:
                where = before if before in paths else "command line"
            elif not value and flag != argument and flag in paths:
                where = flag
            else:
                continue
            raise InputError(where, "found an empty argument", "Is a variable empty?")
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """See Typer, which would take some errors for its own."""
        with one_line_errors():
            return super().invoke(ctx)


class App(typer.Typer):
    """What each module of a command has: `app = App()`, with one `@app.command()`, which takes
    --version too."""

    def __init__(self) -> None:
        super().__init__(pretty_exceptions_enable=False)

    def command(  # type: ignore[override]  # which names each setting
        self,
        name: str | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """See Typer."""
        register = super().command

        def registered(function: Callable[..., Any]) -> Callable[..., Any]:
            hints = get_type_hints(function, include_extras=True)
            for hint in hints.values():
                for about in getattr(hint, "__metadata__", ()):
                    # What reads a file says why it cannot, and goes on with others.
                    if hasattr(about, "readable"):
                        about.readable = False
            function.__annotations__ = hints
            paths = frozenset(name for name, hint in hints.items() if _takes_paths(hint))
            kind = type("Command", (Command,), {"paths": paths})
            told: dict[str, Any] = {"cls": kind, "help": _paragraphs(function.__doc__ or "")}
            register(name, **told | settings)(_with_version(function))
            return function

        return registered


def _takes_paths(hint: object) -> bool:
    return hint is Path or any(map(_takes_paths, get_args(hint)))


def _paragraphs(docstring: str) -> str:
    """A docstring without its own line breaks, which would stay beside those of the terminal."""
    return "\n\n".join(" ".join(part.split()) for part in cleandoc(docstring).split("\n\n"))


def _with_version(function: Callable[..., Any]) -> Callable[..., Any]:
    """What Typer makes a command of: the function, with one more option that it need not know."""

    @wraps(function)
    def command(*args: Any, version: bool = False, **settings: Any) -> Any:  # noqa: ANN401
        return function(*args, **settings)

    hint = Annotated[bool, VERSION]
    option = Parameter("version", Parameter.KEYWORD_ONLY, default=False, annotation=hint)
    given = signature(function)
    command.__signature__ = given.replace(  # type: ignore[attr-defined]
        parameters=[*given.parameters.values(), option]
    )
    command.__annotations__ = function.__annotations__ | {"version": hint}
    return command


def answer(line: str) -> None:
    """Print a line that a command is run for: it ends where nobody can read them.

    Raises OutputError, and BrokenPipeError where the reader is gone.
    """
    print(line)
    failure: OSError | None = getattr(sys.stdout, "failure", None)
    if failure is not None:
        broken = isinstance(failure, BrokenPipeError)
        raise failure if broken else unwritable("standard output", failure)


@contextmanager
def progress_bars() -> Iterator[Track]:
    """A Track that draws one bar for each phase on standard error, with the time left. Bars of
    phases that were part of another one go when that one advances.

    Of several processes the first draws, and what it draws is its own share.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    hidden = not (is_first() and console.is_terminal)
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:

        def track(phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
            return partial(_advance, progress, progress.add_task(phase, total=total, unit=unit))

        yield track


def _advance(progress: Progress, bar: TaskID, done: int) -> None:
    if bar in progress.task_ids:
        progress.advance(bar, done)
        for later in progress.task_ids:
            if later > bar:
                progress.remove_task(later)
