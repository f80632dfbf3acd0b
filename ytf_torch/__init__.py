"""Defend a backdoored face-recognition network: prune it, detect triggered inputs, report.

What it offers stands in the folder api, which is loaded when one of its names is first asked for:
PyTorch takes seconds, in which a command could not even be interrupted in good order.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ytf_torch.api import *  # noqa: F403

    __version__: str


def __getattr__(name: str) -> object:
    if name == "__version__":
        return version("ytf-torch")
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found: object = getattr(import_module("ytf_torch.api"), name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return found
