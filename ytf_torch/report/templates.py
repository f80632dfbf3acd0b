"""The templates of all pages: whatever comes from a file is escaped."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from ytf_torch.errors import printable
from ytf_torch.metrics import Share

NO_BREAK_SPACE = "\xa0"


def template(name: str) -> Template:
    """A template of this folder, which knows the filters percent, interval, count and
    unbroken."""
    environment = Environment(
        loader=PackageLoader("ytf_torch", "report"),
        autoescape=True,
        finalize=_printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "interval": interval,
        "count": "{:,}".format,
        "unbroken": unbroken,
    }
    return environment.get_template(name)


def unbroken(text: str) -> str:
    """A text in which a number is not torn from its percent sign."""
    return text.replace(" %", f"{NO_BREAK_SPACE}%")


def percent(rate: float) -> str:
    """A rate with two decimals."""
    return f"{rate:.2f}\u00a0%"


def interval(share: Share) -> str:
    """The ends of a share's interval, with one decimal."""
    return f"{share.low:.1f}–{share.high:.1f}\u00a0%"


def _printable(value: object) -> object:
    """What the page shows of a value: names from strangers with every control character escaped,
    line ends and no-break spaces kept."""
    if isinstance(value, Markup):
        return value
    parts = re.split(f"([\n{NO_BREAK_SPACE}])", str(value))
    return "".join(part if part in ("\n", NO_BREAK_SPACE) else printable(part) for part in parts)
