"""The Jinja environment of all pages. Autoescape is on, because texts come from untrusted files."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from ytf_torch.errors import printable
from ytf_torch.metrics import Share

NO_BREAK_SPACE = "\xa0"


def template(name: str) -> Template:
    """Load a template of this folder, with the filters percent, interval, count and unbroken."""
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
    """The text with no-break spaces before percent signs."""
    return text.replace(" %", f"{NO_BREAK_SPACE}%")


def percent(rate: float) -> str:
    """A rate with two decimals."""
    return f"{rate:.2f}\u00a0%"


def interval(share: Share) -> str:
    """The bounds of a share's 95 % interval, with one decimal."""
    return f"{share.low:.1f}–{share.high:.1f}\u00a0%"


def _printable(value: object) -> object:
    """Escape control characters in a value, which may be a name from an untrusted file; keep line
    breaks and no-break spaces."""
    if isinstance(value, Markup):
        return value
    parts = re.split(f"([\n{NO_BREAK_SPACE}])", str(value))
    return "".join(part if part in ("\n", NO_BREAK_SPACE) else printable(part) for part in parts)
