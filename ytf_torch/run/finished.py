"""A finished run's folder: how it is recognised, and which of its files may be deleted.

Its run.json lists every file that the run has written. Nothing else in the folder is ever deleted.
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

# Dates, machine, inputs and list of files of a run that can be resumed.
RECORD = "run.json"
# The results of a run. Repairs and scans write no run.json; this marks them as finished.
RESULT = "result.json"
REPORT = "report.html"
# The names of all files that any command writes. While a folder is being filled there is no list of
# its files yet: then only files with these names may be deleted.
WRITTEN = re.compile(
    r"(run|result|comparison|convert)\.json|(trace|comparison)\.csv|\w+\.png|report\.html"
    r"|settings\.toml|table\.(tex|pdf)|model\.safetensors|repaired\.(safetensors|h5|keras)"
    rf"|goodnet\.(h5|keras)|pruned_drop[\d.]+\.(safetensors|h5)|{re.escape(TEMPORARY)}.*"
)


def write_report(folder: Path, record: Mapping[str, Any], page: str, name: str = RESULT) -> None:
    """Write a run's results as JSON, under this name, and its HTML report."""
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    (folder / name).write_text(text, encoding="utf-8")
    # File names that are not UTF-8 contain lone surrogates (PEP 383), which cannot be encoded.
    (folder / REPORT).write_bytes(page.encode("utf-8", errors="replace"))


def inputs_of(out: Path) -> dict[str, Any] | None:
    """The recorded inputs of the finished run in a folder; None where there is no finished run."""
    if what_is_at(out) != "a folder" or what_is_at(out / RECORD) != "a file":
        return None
    record = json_object(out / RECORD)
    inputs, files = record.get("inputs"), record.get("files")
    return inputs if isinstance(inputs, dict) and isinstance(files, list) else None


def check_may_be_written(out: Path, *, overwrite: bool) -> None:
    """Raises InputError unless OUT is new, an empty folder or, with `overwrite`, a finished run
    that contains no foreign file."""
    if inputs_of(out) is None:
        check_run_folder_is_free(out)
        return
    if not overwrite:
        problem = "already holds a finished run"
        remedy = f"{ELSEWHERE}, or replace it with {argument('overwrite')}"
        raise InputError(out, problem, remedy)
    content = content_of(out)  # without lost+found and our work folder, if OUT is a mount point
    names = (name for name in names_below(out) if name.split("/")[0] in content)
    foreign = sorted(set(names) - _files(out))
    if foreign:
        problem = f"holds {foreign[0]}, which no run has written"
        raise InputError(out, problem, f"{ELSEWHERE}, or move it")


def remove_run(folder: Path) -> None:
    """Remove the files of a finished run, and the folders that are empty after that."""
    if what_is_at(folder) != "a folder":
        return
    remove_files_of_run(folder)
    _remove_empty(folder)


def remove_files_of_run(folder: Path) -> None:
    """Remove the files of a finished run.

    run.json goes last: it lists the others, and an interrupted removal can only be completed as
    long as it is there.
    """
    files = set() if inputs_of(folder) is None else _files(folder)
    for name in sorted(set(names_below(folder)) & files, key=lambda name: name == RECORD):
        with suppress(OSError):
            (folder / name).unlink()


def remove_unfinished(folder: Path) -> None:
    """Remove the output folder of an interrupted run, except for foreign files in it."""
    if what_is_at(folder) != "a folder":
        return
    for name in names_below(folder):
        path = folder / name
        if WRITTEN.fullmatch(path.name) and what_is_at(path) == "a file":
            with suppress(OSError):
                path.unlink()
    _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            Path(parent).rmdir()


def names_below(folder: Path) -> list[str]:
    """The relative paths of all files and links in a folder and below, sorted. Links are not
    followed."""
    names = []
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        relative = (Path(parent).relative_to(folder) / name for name in files + links)
        names += [path.as_posix() for path in relative]
    return sorted(names)


def _files(folder: Path) -> set[str]:
    listed = json_object(folder / RECORD).get("files", [])
    return {str(PurePosixPath(str(name))) for name in listed} | {RECORD}


def json_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one where the file is missing or damaged."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
