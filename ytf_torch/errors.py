"""The one kind of error that a user can mend: a clear line, exit status 2, no traceback."""

# Some 20 lines of a terminal. Names in a stranger's file may have megabytes.
MAX_LINE = 2000


def printable(text: object) -> str:
    """`text` with every control or other unprintable character escaped, safe for a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


class InputError(Exception):
    """Something the user gave cannot be used.

    Its text is one printable line: where it is, what was found, what was expected, what to do.
    It can be sent to another process.
    """

    def __init__(self, where: object, problem: str, remedy: str = "") -> None:
        super().__init__(str(where), problem, remedy)

    def __str__(self) -> str:
        where, problem, remedy = self.args
        line = f"{where}: {problem}" + (f". {remedy}" if remedy else "")
        if len(line) > MAX_LINE:
            line = f"{line[: MAX_LINE // 2]} … {line[-MAX_LINE // 2 :]}"
        return printable(line)


class ProcessLostError(Exception):
    """Another process of this run ended before the run did. Its text is one printable line."""


class OutputError(InputError):
    """Something that cannot be written: a full disk, a folder without permission."""


def mismatch(where: object, expected: object, found: object, remedy: str = "") -> InputError:
    """The error for a value that is not what it has to be."""
    return InputError(where, f"expected {expected}, found {found}", remedy)


def unwritable(where: object, error: Exception) -> OutputError:
    """The error for what the operating system refuses to write."""
    return OutputError(where, f"cannot be written ({getattr(error, 'strerror', None) or error})")


def how_to_install(extra: str) -> str:
    """The remedy where a package of one of this project's extras is missing."""
    return (
        f"Install it in the project's folder: python3 bootstrap.py install {extra}, "
        f"or pip install '.[{extra}]'"
    )
