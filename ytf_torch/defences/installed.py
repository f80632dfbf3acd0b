"""Methods of other packages, discovered through entry points without importing them.

An entry point is code that the user has installed. It is imported and run in this process, but only
once its name is requested.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ytf_torch.errors import InputError

# Use of a method → entry point groups that provide it. A ranking is used as a repair that prunes by
# it.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "repair": ("ytf_torch.repairs", "ytf_torch.rankings"),
    "detector": ("ytf_torch.detectors",),
    "scan": ("ytf_torch.scans",),
}
# Names with a meaning of their own on the command line.
RESERVED = frozenset({"all", "recommended", ""})


def installed_names(use: str) -> tuple[str, ...]:
    """The names of other packages' methods, sorted. use: a key of GROUPS."""
    return tuple(sorted({entry.name for _, entry in _entries(use)}))


def check_unambiguous(use: str, name: str, own: tuple[str, ...]) -> None:
    """Raises InputError if a name belongs to several methods, or cannot be used on a command line.

    own: the names of ytf-torch's own methods.
    """
    entries = [entry for _, entry in _entries(use) if entry.name == name]
    if not entries:
        return
    packages = [_package(entry) for entry in entries]
    owners = [*(["ytf-torch itself"] if name in own else []), *packages]
    if len(owners) > 1:
        problem = f"names a {use} in {' and '.join(owners)}"
        remedy = "Uninstall one of the packages, or rename its entry point"
        raise InputError(f"the name {name}", problem, remedy)
    if name in RESERVED or "," in name or name != name.strip() or not name.isprintable():
        problem = f"is not valid for a {use} of {packages[0]}"
        raise InputError(f"the name {name!r}", problem, "Give its entry point another name")


def load_installed(use: str, name: str) -> tuple[str, Any]:
    """Load an entry point; returns its group and its object.

    Raises InputError if loading fails for any reason, and KeyError for an unknown name.
    """
    for group, entry in _entries(use):
        if entry.name == name:
            subject = f"the {use} {name} of {_package(entry)}"
            try:
                return group, entry.load()
            except Exception as error:  # another package's code may raise anything
                raise cannot_be_used(subject, "loaded", error) from error
    raise KeyError(name)


def cannot_be_used(what: str, step: str, error: Exception) -> InputError:
    """The error for a failure in another package's method. step: such as "loaded"."""
    problem = f"cannot be {step} ({type(error).__name__}: {error})"
    return InputError(what, problem, "Fix or uninstall the package")


def origin_of(use: str, name: str) -> str:
    """The name of another package's method in error messages, with the package."""
    packages = [_package(entry) for _, entry in _entries(use) if entry.name == name]
    return f"the {use} {name} of {', '.join(packages)}"


def _entries(use: str) -> list[tuple[str, EntryPoint]]:
    """Entry points with their groups, without duplicates: a package can be on sys.path twice."""
    unique: dict[tuple[str, str, str, str], tuple[str, EntryPoint]] = {}
    for group in GROUPS[use]:
        for entry in entry_points(group=group):
            unique[group, entry.name, entry.value, _package(entry)] = (group, entry)
    return list(unique.values())


def _package(entry: EntryPoint) -> str:
    return "another package" if entry.dist is None else f"the package {entry.dist.name}"
