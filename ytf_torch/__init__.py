"""Defend a backdoored face-recognition network: prune it, detect triggered inputs, report.

The public names are those of api.py. They come when they are first asked for: PyTorch takes
seconds to load, and a command has to answer `--help` at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ytf_torch.api import *  # noqa: F403


def __getattr__(name: str) -> object:
    if name == "__all__" or not name.startswith("_"):
        api = import_module("ytf_torch.api")
        if name == "__all__" or name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(import_module("ytf_torch.api").__all__)
