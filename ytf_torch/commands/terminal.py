"""Shared by all commands: Typer application, printing, and progress bars."""

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

out = Console(highlight=False)


def say(line: str) -> None:
    """Print one line on standard output, without markup or wrapping; control characters escaped."""
    out.print(Text(printable(line)), soft_wrap=True)


def note(line: str) -> None:
    """Print one line on standard error, where it does not mix with a command's results."""
    print(printable(line), file=sys.stderr)


def _print_version(wanted: bool) -> None:
    """The callback of --version, which is evaluated before all other options."""
    if wanted:
        answer(f"ytf-torch {version('ytf-torch')}")
        raise typer.Exit


VERSION = typer.Option(
    "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
)


class Command(TyperCommand):
    """A command that reports every error, including usage errors, as one line and an exit status.

    paths: the names of its path parameters.
    """

    paths: ClassVar[frozenset[str]] = frozenset()

    def main(self, *args: Any, **settings: Any) -> NoReturn:  # noqa: ANN401
        """See Typer."""
        with one_line_errors():
            status = super().main(*args, **settings | {"standalone_mode": False})
        raise SystemExit(status)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """See Typer. Rejects empty paths, which Typer reads as the working folder: an unset shell
        variable would otherwise select it."""
        path_parameters = (parameter for parameter in self.params if parameter.name in self.paths)
        path_flags = {flag for parameter in path_parameters for flag in parameter.opts}
        text_flags = {
            flag
            for parameter in self.params
            if parameter.name not in self.paths and not getattr(parameter, "is_flag", False)
            for flag in parameter.opts
        }
        for before, argument in zip(["", *args], args, strict=False):
            flag, value = argument.removesuffix("="), argument.partition("=")[2]
            if not argument and before not in text_flags:
                where = before if before in path_flags else "command line"
            elif not value and flag != argument and flag in path_flags:
                where = flag
            else:
                continue
            raise InputError(where, "found an empty argument", "Is a variable empty?")
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """See Typer, which would handle some exceptions itself, such as a broken pipe."""
        with one_line_errors():
            return super().invoke(ctx)


class App(typer.Typer):
    """The Typer application of a command's module: `app = App()`, with one `@app.command()`. Adds
    the option --version."""

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
                for option in getattr(hint, "__metadata__", ()):
                    # Typer's own check is off: readers report unreadable files, with their reason,
                    # and can continue with the next file.
                    if hasattr(option, "readable"):
                        option.readable = False
            function.__annotations__ = hints
            paths = frozenset(name for name, hint in hints.items() if _accepts_paths(hint))
            kind = type("Command", (Command,), {"paths": paths})
            defaults: dict[str, Any] = {"cls": kind, "help": _paragraphs(function.__doc__ or "")}
            register(name, **defaults | settings)(_with_version(function))
            return function

        return registered


def _accepts_paths(hint: object) -> bool:
    return hint is Path or any(map(_accepts_paths, get_args(hint)))


def _paragraphs(docstring: str) -> str:
    """A docstring with one line per paragraph, so that the terminal alone decides its wrapping."""
    return "\n\n".join(" ".join(part.split()) for part in cleandoc(docstring).split("\n\n"))


def _with_version(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with an additional --version option, which is not passed on to it."""

    @wraps(function)
    def command(*args: Any, version: bool = False, **settings: Any) -> Any:  # noqa: ANN401
        return function(*args, **settings)

    hint = Annotated[bool, VERSION]
    option = Parameter("version", Parameter.KEYWORD_ONLY, default=False, annotation=hint)
    original = signature(function)
    command.__signature__ = original.replace(  # type: ignore[attr-defined]
        parameters=[*original.parameters.values(), option]
    )
    command.__annotations__ = function.__annotations__ | {"version": hint}
    return command


def answer(line: str) -> None:
    """Print a line of a command's result. Unlike other output, a failure to print ends the command.

    Raises OutputError, and BrokenPipeError where the reader is gone.
    """
    print(line)
    failure: OSError | None = getattr(sys.stdout, "failure", None)
    if failure is not None:
        broken = isinstance(failure, BrokenPipeError)
        raise failure if broken else unwritable("standard output", failure)


class Bars:
    """A Track that draws one progress bar per phase.

    When a phase advances, the bars of later phases are removed: they were its parts. Branches keep
    their bars apart, so that of several pieces of work that run at the same time each has its own.

    one_at_a_time: remove the bar of a complete phase when the next phase begins.
    """

    def __init__(self, progress: Progress, *, one_at_a_time: bool = False) -> None:
        self.progress, self.one_at_a_time = progress, one_at_a_time
        self.bars: list[TaskID] = []

    def __call__(self, phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        """See Track."""
        if self.one_at_a_time and self.bars and self._is_complete(self.bars[-1]):
            self._remove_from(len(self.bars) - 1)
        bar = self.progress.add_task(phase, total=total, unit=unit)
        self.bars.append(bar)
        return partial(self.advance, bar)

    def advance(self, bar: TaskID, done: int) -> None:
        """Advance one of the bars; one that has been removed is ignored."""
        if bar in self.bars:
            self.progress.advance(bar, done)
            self._remove_from(self.bars.index(bar) + 1)

    @contextmanager
    def branch(self) -> Iterator[Bars]:
        """See Branching."""
        own_bars = Bars(self.progress, one_at_a_time=True)
        try:
            yield own_bars
        finally:
            own_bars._remove_from(0)

    def _is_complete(self, bar: TaskID) -> bool:
        return any(task.id == bar and task.finished for task in self.progress.tasks)

    def _remove_from(self, index: int) -> None:
        for bar in self.bars[index:]:
            self.progress.remove_task(bar)
        del self.bars[index:]


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """A Track that draws progress bars on standard error, with the remaining time.

    Of several processes, the first draws the progress of its own share.
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
        yield Bars(progress)
