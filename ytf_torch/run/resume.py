"""How a run begins: anew, or where one was cut off, or not at all.

A lock in OUT.partial keeps a second run out; it goes with the process that holds it, however that
ends. A run goes on with what is left there only if it is of the very same inputs.

People have folders of such names too. So only a folder with our lock file in it is taken for ours,
only files of the names that a run writes are deleted, and no link is followed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ytf_torch.disk.writing import ELSEWHERE, TEMPORARY, what_is_at, whole_file
from ytf_torch.errors import InputError, OutputError, argument, unwritable
from ytf_torch.run.finished import check_may_be_written, inputs_of, json_object, remove_run
from ytf_torch.run.places import work_path
from ytf_torch.run.work_folder import (
    FINISHED,
    INPUTS,
    PIECE,
    REPLACED,
    WorkFolder,
    now,
    remove_folder,
)

# The first file in a work folder: what tells that it is one.
LOCK = "ytf-torch.lock"


@contextmanager
def work_folder(
    out: Path, inputs: Mapping[str, object], *, resume: bool = False, overwrite: bool = False
) -> Iterator[WorkFolder]:
    """The work folder of a run into OUT, for this process alone.

    inputs: everything the run's figures depend on. resume: go on where a run of the same inputs
    was cut off, if there is one. overwrite: replace a finished run in OUT; without `resume`, also
    drop what a run that was cut off has left.
    The folder is gone when the run is finished, or failed by an input's fault; else it stays.
    Raises InputError where OUT is taken, where OUT.partial is no run's, where a run that was cut
    off would be lost, or is one of other inputs; OutputError where nothing can be written.
    """
    out, inputs = out.absolute(), json.loads(json.dumps(inputs))
    path = work_path(out)
    _check_is_ours(path)
    if not resume and not _was_interrupted_while_replacing(out, path):
        check_may_be_written(out, overwrite=overwrite)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        problem = "another run is writing it at this moment"
        raise InputError(out, problem, f"{ELSEWHERE}, or wait for it") from error
    except (OSError, NotImplementedError) as error:
        raise unwritable(out, error) from error
    stays, work = True, None
    try:
        if _was_interrupted_while_replacing(out, path):
            (path / REPLACED).replace(out)
        work = _entered(out, path, inputs, resume=resume, overwrite=overwrite)
        yield work
        # Without its inputs.json, nobody could go on with what is left there.
        stays = work.finished and json_object(path / INPUTS).get("inputs", inputs) != inputs
    except InputError as error:
        stays = work is None or isinstance(error, OutputError)
        raise
    finally:
        if not stays or not _has_figures(path):
            _clear(path)
            with suppress(OSError):
                (path / LOCK).unlink()
                path.rmdir()
        lock.release()


def _check_is_ours(path: Path) -> None:
    """Raises InputError where OUT.partial is there and no run has made it."""
    found = what_is_at(path)
    ours = found == "nothing"
    if found == "a folder":
        try:
            ours = not any(path.iterdir()) or what_is_at(path / LOCK) == "a file"
        except OSError as error:
            raise unwritable(path, error) from error
    if not ours:
        problem = f"is {found} that no run has made, and where this one would work"
        raise InputError(path, problem, f"{ELSEWHERE}, or move it")


def _was_interrupted_while_replacing(out: Path, path: Path) -> bool:
    """Whether a run was cut off after OUT had gone and before its successor was in its place."""
    return what_is_at(out) == "nothing" and what_is_at(path / REPLACED) == "a folder"


def _entered(
    out: Path, path: Path, inputs: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> WorkFolder:
    if resume and inputs_of(out) == inputs:
        return WorkFolder(out, path, inputs, started="", finished=True)
    check_may_be_written(out, overwrite=overwrite)
    before = json_object(path / INPUTS)
    if before and _has_figures(path):
        if resume:
            _check_same(path, before.get("inputs", {}), inputs)
            return WorkFolder(out, path, inputs, str(before.get("started", "")), resumed=True)
        if not overwrite:
            problem = "holds what a run that was cut off has found out"
            remedy = f"Go on with {argument('resume')}, or start anew with {argument('overwrite')}"
            raise InputError(path, problem, remedy)
    _clear(path)
    work = WorkFolder(out, path, inputs, now())
    with whole_file(path / INPUTS) as temporary:
        temporary.write_text(json.dumps({"started": work.started, "inputs": inputs}, indent=1))
    return work


def _check_same(path: Path, before: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    for name in sorted(before.keys() | inputs.keys()):
        if before.get(name) != inputs.get(name):
            raise InputError(
                path,
                f"the run that was cut off had another {name}",
                f"Give the same files and settings, or start anew with {argument('overwrite')}",
            )


def _has_figures(path: Path) -> bool:
    names = (file.name for file in path.iterdir())
    return any(PIECE.fullmatch(name) and name.endswith(".json") for name in names)


def _clear(path: Path) -> None:
    """Take everything of ours out of a work folder but its lock."""
    remove_run(path / REPLACED)
    remove_folder(path / FINISHED)
    for file in path.iterdir():
        written = PIECE.fullmatch(file.name) or file.name.startswith(TEMPORARY)
        ours = written or file.name == INPUTS
        if ours and what_is_at(file) == "a file":
            with suppress(OSError):
                file.unlink()
