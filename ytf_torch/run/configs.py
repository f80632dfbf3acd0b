"""Configurations that are installed with ytf-torch and chosen by name: `--config lab3`."""

from __future__ import annotations

from os.path import isfile
from pathlib import Path

from ytf_torch.errors import InputError, argument

FOLDER = Path(__file__).parent.parent / "configs"


def known_configs() -> list[str]:
    """The names of the installed configurations, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def config_file(path: Path) -> Path:
    """The configuration file at a path, or else the installed one of that name.

    Raises InputError where neither exists.

    >>> config_file(Path("csaw2020")).name
    'csaw2020.toml'
    """
    # os.path.isfile is False where a folder may not be entered; Path.is_file raises there.
    if isfile(path) or path.suffix or len(path.parts) != 1:  # noqa: PTH113
        return path
    if path.name not in known_configs():
        raise InputError(
            argument("config"),
            f"no file {path}, and no configuration of that name",
            f"Name a file, or one that comes with ytf-torch: {', '.join(known_configs())}",
        )
    return FOLDER / f"{path.name}.toml"
