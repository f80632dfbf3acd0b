"""Errors that a user can correct: one clear line, exit status 2, no traceback.

The library has arguments, the command line has flags. A message therefore marks the arguments that
it names by `argument`, and whoever shows it words them: `drops` in Python, --drops on the command
line.
"""

import re
from collections.abc import Callable

# About 20 lines of a terminal. Names in an untrusted file may be megabytes long.
MAX_LINE = 2000


def printable(text: object) -> str:
    """`text` with every control or other unprintable character escaped, safe for a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


# An argument's name, and optionally its value, between private-use characters.
ARGUMENT = re.compile("\ue000([a-z_]+)(?:=([^\ue000\ue001]*))?\ue001")
Wording = Callable[[str, str | None], str]


def argument(name: str, value: object = None) -> str:
    """Mark an argument of a public function, optionally with a value, inside an error message.

    >>> InputError(argument("drops"), "no drop", f"Give {argument('drops', '2')}").line()
    '`drops`: no drop. Give `drops="2"`'
    """
    return f"\ue000{name}\ue001" if value is None else f"\ue000{name}={value}\ue001"


def as_argument(name: str, value: str | None) -> str:
    """The wording of an argument for Python code."""
    return f"`{name}`" if value is None else f'`{name}="{value}"`'


class _OneLineError(Exception):
    """An error whose message is one printable line."""

    def line(self, wording: Wording = as_argument) -> str:
        """The message, with its arguments worded by `wording`."""
        line = ARGUMENT.sub(lambda match: wording(match[1], match[2]), self._text())
        if len(line) > MAX_LINE:
            line = f"{line[: MAX_LINE // 2]} … {line[-MAX_LINE // 2 :]}"
        return printable(line)

    def _text(self) -> str:
        return str(self.args[0])

    def __str__(self) -> str:
        return self.line()


class InputError(_OneLineError):
    """An input of the user cannot be used.

    The message is one printable line: where it is, what was expected, what was found, what to do.
    The error can be pickled and raised in another process.

    >>> InputError("valid.h5", "expected `label`, found only `data`", "Save the labels too").line()
    'valid.h5: expected `label`, found only `data`. Save the labels too'
    """

    def __init__(self, where: object, problem: str, remedy: str = "") -> None:
        super().__init__(str(where), problem, remedy)

    def _text(self) -> str:
        where, problem, remedy = self.args
        return f"{where}: {problem}" + (f". {remedy}" if remedy else "")


class ProcessLostError(_OneLineError):
    """Another process of a distributed run ended early. The message is one printable line."""


class WorkerFaultError(Exception):
    """An internal error of a worker process. args: its type and message, and where it was raised,
    as file:line."""

    def __init__(self, description: str, place: str) -> None:
        super().__init__(description, place)

    def __str__(self) -> str:
        return printable("{} ({})".format(*self.args))


class CannotRepairError(InputError):
    """A repair is not applicable to this network; another repair may be."""


class CannotDetectError(InputError):
    """A detector is not applicable to this network or these images; another detector may be."""


class WrongSettingError(InputError):
    """A setting of a run is wrong, so that what was computed with it is of no use."""


class OutputError(InputError):
    """An output cannot be written: a full disk, a folder without permission."""


def mismatch(where: object, expected: object, found: object, remedy: str = "") -> InputError:
    """The error for a value other than the expected one."""
    try:
        shown = str(found)
    except (RecursionError, ValueError):  # Python refuses to print ints of over 4,300 digits
        shown = f"a {type(found).__name__} that is too long or too deep to show"
    return InputError(where, f"expected {expected}, found {shown}", remedy)


def unwritable(where: object, error: Exception) -> OutputError:
    """The error for an output that the operating system refuses to write."""
    return OutputError(where, f"cannot be written ({getattr(error, 'strerror', None) or error})")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out. On a CPU PyTorch raises a plain RuntimeError,
    which is recognised by its message; CUDA's error is a RuntimeError with such a message too."""
    phrases = ("out of memory", "not enough memory", "can't allocate memory")
    matches = isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases)
    return matches or isinstance(error, MemoryError)


def how_to_install(extra: str) -> str:
    """The remedy if a package of one of this project's extras is missing."""
    return (
        f"Install it in the project's folder: python3 bootstrap.py install {extra}, "
        f"or pip install '.[{extra}]'"
    )
