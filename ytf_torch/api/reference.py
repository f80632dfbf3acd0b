"""Generate docs/api.md, the reference of `ytf_torch`, from signatures and docstrings.

Run `python -m ytf_torch.api.reference docs/api.md`. A test checks that the page is up to date.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from ytf_torch import api

HEAD = """# Python reference

<!-- Written by `python -m ytf_torch.api.reference docs/api.md`; a test compares them. -->

The public names of `ytf_torch`. All examples run in the tests, on networks with random weights:
they show the form of a result, their figures have no meaning.

- `Model` is the path of a network (a Keras file, or a `.safetensors` file of this package), or a
  `Checkpoint` as returned by `read_model`, or by `wrap` for a PyTorch module.
- `Images` is the path of an HDF5 file, an `.npz` file or an image folder; an `ImageSet` as returned
  by `images_of(pixels, labels)`; or a `torch.utils.data.Dataset` or `DataLoader` of (image, label),
  which is read into memory once. Its images are Pillow images, or arrays (channels, height, width)
  of values 0–255 or, in floating point, 0–1.
- `track` shows progress: `notebook_bars` in Jupyter; the default, `untracked`, shows none.
"""


def reference_page() -> str:
    """The text of the page.

    >>> reference_page().splitlines()[0]
    '# Python reference'
    """
    functions = [name for name in api.__all__ if not inspect.isclass(getattr(api, name))]
    classes = [name for name in api.__all__ if inspect.isclass(getattr(api, name))]
    lines = [HEAD.rstrip()]
    for title, names in (("Functions", functions), ("Classes", classes)):
        lines += ["", f"## {title}", "", " · ".join(map(_link, names))]
        for name in names:
            lines += ["", *_entry(name)]
    return "\n".join(lines) + "\n"


def _heading(name: str) -> str:
    """The heading of an entry. Classes are marked, because anchors are in lower case and would not
    distinguish `Export` from `export`."""
    return f"class {name}" if inspect.isclass(getattr(api, name)) else name


def _link(name: str) -> str:
    return f"[{name}](#{_heading(name).lower().replace(' ', '-')})"


def _entry(name: str) -> list[str]:
    """Heading, signature and docstring of one name; for an alias, a link to its subject."""
    subject = getattr(api, name)
    lines = [f"### {_heading(name)}", ""]
    if subject.__name__ != name:
        return [*lines, f"The former name of {_link(subject.__name__)}."]
    if inspect.isclass(subject):
        return [*lines, *_text(subject), *_members(subject)]
    return [*lines, "```python", *_signature(name, subject), "```", "", *_text(subject)]


def _text(subject: object) -> list[str]:
    """A docstring with its examples as code blocks."""
    lines: list[str] = []
    in_example = False
    for line in inspect.cleandoc(subject.__doc__ or "").splitlines():
        begins = line.startswith(">>> ")
        if begins and not in_example:
            lines += ["```pycon"]
            in_example = True
        if in_example and not line:
            lines += ["```"]
            in_example = False
        lines.append(line)
    return [*lines, "```"] if in_example else lines


def _signature(name: str, function: Callable[..., Any]) -> list[str]:
    """A function's signature, on one line if it fits, else with one line per argument."""
    signature = inspect.signature(function)
    arguments: list[str] = []
    keyword_only = False
    for argument in signature.parameters.values():
        if argument.kind is argument.KEYWORD_ONLY and not keyword_only:
            arguments.append("*")
            keyword_only = True
        arguments.append(_argument(argument))
    returned = _type(signature.return_annotation)
    whole = f"{name}({', '.join(arguments)}) -> {returned}"
    if len(whole) <= 88:
        return [whole]
    return [f"{name}(", *(f"    {argument}," for argument in arguments), f") -> {returned}"]


def _argument(argument: inspect.Parameter) -> str:
    name = argument.name
    if argument.annotation is not argument.empty:
        name = f"{name}: {_type(argument.annotation)}"
    if argument.default is argument.empty:
        return name
    default = argument.default
    shown = default.__name__ if inspect.isfunction(default) else repr(default)
    return f"{name} = {shown}"


def _type(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "None")


def _members(subject: type) -> list[str]:
    """A table of the public fields, properties and methods that a class defines itself."""
    rows = [f"| `{name}` | {what} |" for name, what in _own(subject)]
    return ["", "| member | what it is |", "|---|---|", *rows] if rows else []


def _own(subject: type) -> Iterator[tuple[str, str]]:
    if is_dataclass(subject):
        for field in fields(subject):
            yield field.name, f"`{_type(field.type)}`".replace("|", "\\|")
    for name, member in vars(subject).items():
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        called = "" if isinstance(member, property) else "()"
        yield f"{name}{called}", _summary(function)


def _summary(function: Callable[..., Any]) -> str:
    """The first paragraph of a docstring."""
    first = inspect.cleandoc(function.__doc__ or "").split("\n\n")[0]
    return " ".join(first.split()).replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference_page(), encoding="utf-8")
