"""The one kind of error that a user can mend: a clear line, exit status 2, no traceback.

The library speaks of arguments, the commands of flags: where an error's text names an argument, it
does so by `argument`, and whoever shows the error words it.
"""

import re
from collections.abc import Callable

# Some 20 lines of a terminal. Names in a stranger's file may have megabytes.
MAX_LINE = 2000


def printable(text: object) -> str:
    """`text` with every control or other unprintable character escaped, safe for a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


# An argument's name, and its value where there is one, between characters that nobody types.
ARGUMENT = re.compile("\ue000([a-z_]+)(?:=([^\ue000\ue001]*))?\ue001")
Wording = Callable[[str, str | None], str]


def argument(name: str, value: object = None) -> str:
    """An argument of a public function inside an error's text, with a value to give it or without.

    >>> InputError(argument("drops"), "no drop", f"Give {argument('drops', '2')}").line()
    '`drops`: no drop. Give `drops="2"`'
    """
    return f"\ue000{name}\ue001" if value is None else f"\ue000{name}={value}\ue001"


def as_argument(name: str, value: str | None) -> str:
    """How Python code words an argument."""
    return f"`{name}`" if value is None else f'`{name}="{value}"`'


class _OneLineError(Exception):
    """An error whose text is one printable line."""

    def line(self, wording: Wording = as_argument) -> str:
        """Its text, with arguments worded so."""
        line = ARGUMENT.sub(lambda found: wording(found[1], found[2]), self._text())
        if len(line) > MAX_LINE:
            line = f"{line[: MAX_LINE // 2]} … {line[-MAX_LINE // 2 :]}"
        return printable(line)

    def _text(self) -> str:
        return str(self.args[0])

    def __str__(self) -> str:
        return self.line()


class InputError(_OneLineError):
    """Something the user gave cannot be used.

    Its text is one printable line: where it is, what was found, what was expected, what to do.
    It can be sent to another process.

    >>> InputError("valid.h5", "expected `label`, found only `data`", "Save the labels too").line()
    'valid.h5: expected `label`, found only `data`. Save the labels too'
    """

    def __init__(self, where: object, problem: str, remedy: str = "") -> None:
        super().__init__(str(where), problem, remedy)

    def _text(self) -> str:
        where, problem, remedy = self.args
        return f"{where}: {problem}" + (f". {remedy}" if remedy else "")


class ProcessLostError(_OneLineError):
    """Another process of this run ended before the run did. Its text is one printable line."""


class CannotRepairError(InputError):
    """A repair that has nothing to offer for this network; another one may."""


class OutputError(InputError):
    """Something that cannot be written: a full disk, a folder without permission."""


def mismatch(where: object, expected: object, found: object, remedy: str = "") -> InputError:
    """The error for a value that is not what it has to be."""
    try:
        shown = str(found)
    except (RecursionError, ValueError):  # Python prints no number of thousands of digits
        shown = f"a {type(found).__name__} that is too long or too deep to show"
    return InputError(where, f"expected {expected}, found {shown}", remedy)


def unwritable(where: object, error: Exception) -> OutputError:
    """The error for what the operating system refuses to write."""
    return OutputError(where, f"cannot be written ({getattr(error, 'strerror', None) or error})")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory. PyTorch has no class of its own for this, NumPy's and
    CUDA's have these words too."""
    words = ("out of memory", "not enough memory", "can't allocate memory")
    told = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    return told or isinstance(error, MemoryError)


def how_to_install(extra: str) -> str:
    """The remedy where a package of one of this project's extras is missing."""
    return (
        f"Install it in the project's folder: python3 bootstrap.py install {extra}, "
        f"or pip install '.[{extra}]'"
    )
