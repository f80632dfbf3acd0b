"""Configurations that come with ytf-torch, to be asked for by name: `ytf-prune --config lab3`."""

from __future__ import annotations

from os.path import isfile
from pathlib import Path

from ytf_torch.errors import InputError, argument

FOLDER = Path(__file__).parent.parent / "configs"


def known_configs() -> list[str]:
    """Their names, in order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def config_file(given: Path) -> Path:
    """The configuration file that is meant: the one at a path, or else ours of that name.

    Raises InputError where `given` is a mere name, and nobody's.

    >>> config_file(Path("csaw2020")).name
    'csaw2020.toml'
    """
    # Path.is_file raises where a folder may not be entered.
    if isfile(given) or given.suffix or len(given.parts) != 1:  # noqa: PTH113
        return given
    if given.name not in known_configs():
        raise InputError(
            argument("config"),
            f"no file {given}, and no configuration of that name",
            f"Name a file, or one that comes with ytf-torch: {', '.join(known_configs())}",
        )
    return FOLDER / f"{given.name}.toml"
