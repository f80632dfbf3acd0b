"""A finished run's folder: how it is known from others, and what of it may be removed.

Its run.json names every file that the run has written. Nothing else in the folder is ever deleted.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from ytf_torch.disk.writing import (
    ELSEWHERE,
    TEMPORARY,
    check_run_folder_is_free,
    content_of,
    what_is_at,
)
from ytf_torch.errors import InputError, argument

# Dates, machine, inputs and files of a run, in its folder.
RECORD = "run.json"
# A run's figures; what repairs and scans are known to be finished by.
RESULT = "result.json"
REPORT = "report.html"
# The names of all files that runs write, whatever command they are of. Files of other names in a
# folder that a run was filling are somebody else's.
WRITTEN = re.compile(
    r"(run|result|comparison|convert)\.json|(trace|comparison)\.csv|\w+\.png|report\.html"
    r"|settings\.toml|table\.(tex|pdf)|model\.safetensors|repaired\.(safetensors|h5|keras)"
    rf"|goodnet\.(h5|keras)|pruned_drop[\d.]+\.(safetensors|h5)|{re.escape(TEMPORARY)}.*"
)


def write_report(folder: Path, record: Mapping[str, Any], page: str, name: str = RESULT) -> None:
    """Write a run's figures, as JSON of this name, and its page."""
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    (folder / name).write_text(text, encoding="utf-8")
    # Names of files may hold half a surrogate pair.
    (folder / REPORT).write_bytes(page.encode("utf-8", errors="replace"))


def inputs_of(out: Path) -> dict[str, Any] | None:
    """The inputs on record of the finished run in a folder; None where there is no finished run."""
    if what_is_at(out) != "a folder" or what_is_at(out / RECORD) != "a file":
        return None
    record = json_object(out / RECORD)
    found, files = record.get("inputs"), record.get("files")
    return found if isinstance(found, dict) and isinstance(files, list) else None


def check_may_be_written(out: Path, *, overwrite: bool) -> None:
    """Raises InputError unless OUT is new, an empty folder or, with `overwrite`, a finished run
    with nothing else beside it."""
    if inputs_of(out) is None:
        check_run_folder_is_free(out)
        return
    if not overwrite:
        problem = "already holds a finished run"
        remedy = f"{ELSEWHERE}, or replace it with {argument('overwrite')}"
        raise InputError(out, problem, remedy)
    content = content_of(out)
    names = (name for name in names_below(out) if name.split("/")[0] in content)
    others = sorted(set(names) - _files(out))
    if others:
        problem = f"holds {others[0]}, which no run has written"
        raise InputError(out, problem, f"{ELSEWHERE}, or move it")


def remove_run(folder: Path) -> None:
    """Remove the files of a finished run, and what is an empty folder then."""
    if what_is_at(folder) != "a folder":
        return
    remove_files_of_run(folder)
    _remove_empty(folder)


def remove_files_of_run(folder: Path) -> None:
    """Remove the files of a finished run. run.json goes last: it says which of the others are the
    run's."""
    files = set() if inputs_of(folder) is None else _files(folder)
    for name in sorted(set(names_below(folder)) & files, key=lambda name: name == RECORD):
        with suppress(OSError):
            (folder / name).unlink()


def remove_unfinished(folder: Path) -> None:
    """Remove what a run has written into a folder that it had not filled when it was cut off; the
    folder too, unless somebody else has put a file there."""
    if what_is_at(folder) != "a folder":
        return
    for name in names_below(folder):
        file = folder / name
        if WRITTEN.fullmatch(file.name) and what_is_at(file) == "a file":
            with suppress(OSError):
                file.unlink()
    _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    for inside, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(inside).rmdir()


def names_below(folder: Path) -> list[str]:
    """Every file and link in a folder and below, by its path from there; links are not followed."""
    names = []
    for inside, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(inside) / name).is_symlink()]
        below = (Path(inside).relative_to(folder) / name for name in files + links)
        names += [path.as_posix() for path in below]
    return sorted(names)


def _files(folder: Path) -> set[str]:
    listed = json_object(folder / RECORD).get("files", [])
    return {str(PurePosixPath(str(name))) for name in listed} | {RECORD}


def json_object(file: Path) -> dict[str, Any]:
    """A JSON file of ours; empty where there is none, or none that can be read."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
