"""Methods of other packages, which these name as entry points: found without loading any of them.

An entry point is code that the user has installed: it is run, in this process, when its name is
asked for, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ytf_torch.errors import InputError

# What a method is used as → the groups of entry points in which it may stand. A ranking is a repair
# that prunes by it.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "repair": ("ytf_torch.repairs", "ytf_torch.rankings"),
    "detector": ("ytf_torch.detectors",),
    "scan": ("ytf_torch.scans",),
}
RESERVED = frozenset({"all", "recommended", ""})


def installed_names(use: str) -> tuple[str, ...]:
    """The names that other packages give to methods of a use, a key of GROUPS, sorted."""
    return tuple(sorted({entry.name for _, entry in _entries(use)}))


def check_unambiguous(use: str, name: str, own: tuple[str, ...]) -> None:
    """Raises InputError where a name means more than one method, or one that cannot be asked for.

    own: the names that ytf-torch itself gives.
    """
    entries = [entry for _, entry in _entries(use) if entry.name == name]
    if not entries:
        return
    packages = [_package(entry) for entry in entries]
    owners = [*(["ytf-torch itself"] if name in own else []), *packages]
    if len(owners) > 1:
        found = f"is what {' and '.join(owners)} name a {use}"
        raise InputError(f"the name {name}", found, "Uninstall one of the packages, or rename its")
    if name in RESERVED or "," in name or name != name.strip() or not name.isprintable():
        problem = f"a {use} of {packages[0]} cannot be called so"
        raise InputError(f"the name {name!r}", problem, "Give its entry point another name")


def load_installed(use: str, name: str) -> tuple[str, Any]:
    """The group and the object of an entry point, loaded.

    Raises InputError where it cannot be loaded, whatever goes wrong in it, and KeyError where no
    package has one of this name.
    """
    for group, entry in _entries(use):
        if entry.name == name:
            with_origin = f"the {use} {name} of {_package(entry)}"
            try:
                return group, entry.load()
            except Exception as error:  # of somebody else's code
                raise cannot_be_used(with_origin, "loaded", error) from error
    raise KeyError(name)


def cannot_be_used(what: str, step: str, error: Exception) -> InputError:
    """The error for a method of another package that fails. step: such as "loaded"."""
    problem = f"cannot be {step} ({type(error).__name__}: {error})"
    return InputError(what, problem, "Mend or uninstall the package")


def origin_of(use: str, name: str) -> str:
    """What to call a method of another package in an error."""
    packages = [_package(entry) for _, entry in _entries(use) if entry.name == name]
    return f"the {use} {name} of {', '.join(packages)}"


def _entries(use: str) -> list[tuple[str, EntryPoint]]:
    """Each entry point with its group, once: a package may be found twice on Python's path."""
    found: dict[tuple[str, str, str, str], tuple[str, EntryPoint]] = {}
    for group in GROUPS[use]:
        for entry in entry_points(group=group):
            found[group, entry.name, entry.value, _package(entry)] = (group, entry)
    return list(found.values())


def _package(entry: EntryPoint) -> str:
    return "another package" if entry.dist is None else f"the package {entry.dist.name}"
