"""How a run begins: anew, or where one was cut off, or not at all.

A lock in OUT.partial keeps a second run out, see lock.py. A run goes on with what is left there
only if it is of the very same inputs.

Only files of the names that a run writes are deleted, and no link is followed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ytf_torch.disk.writing import (
    ELSEWHERE,
    TEMPORARY,
    check_run_folder_is_free,
    what_is_at,
    whole_file,
)
from ytf_torch.errors import InputError, argument, unwritable
from ytf_torch.run.finished import (
    check_may_be_written,
    inputs_of,
    json_object,
    remove_run,
    remove_unfinished,
)
from ytf_torch.run.inputs import check_unchanged
from ytf_torch.run.lock import LOCK, MOVING, check_is_ours, locked
from ytf_torch.run.places import work_path
from ytf_torch.run.work_folder import (
    FINISHED,
    INPUTS,
    OWN_FOLDER,
    PIECE,
    WorkFolder,
    move_up,
    new_folder,
    now,
    put_in_place,
    replaced_run,
)


@contextmanager
def work_folder(
    out: Path, inputs: Mapping[str, object], *, resume: bool = False, overwrite: bool = False
) -> Iterator[WorkFolder]:
    """The work folder of a run into OUT, for this process alone.

    inputs: everything the run's figures depend on. resume: go on where a run of the same inputs
    was cut off, if there is one. overwrite: replace a finished run in OUT; without `resume`, also
    drop what a run that was cut off has left.
    The folder is gone when the run is finished. It stays while it holds figures of finished pieces,
    whatever the run ended by.
    Raises InputError where OUT is taken, where OUT.partial is no run's, where a run that was cut
    off would be lost, or is one of other inputs; OutputError where nothing can be written.
    """
    out, inputs = out.absolute(), json.loads(json.dumps(inputs))
    path = work_path(out)
    check_is_ours(path)
    if not resume and not _was_cut_off_while_replacing(out, path):
        check_may_be_written(out, overwrite=overwrite)
    with locked(out, path):
        stays, work = True, None
        try:
            _end_replacing(out, path)
            work = _entered(out, path, inputs, resume=resume, overwrite=overwrite)
            yield work
            # OUT was finished before. What is left here stays only if, by its inputs.json, it is
            # another run's, which can still go on.
            stays = work.finished and json_object(path / INPUTS).get("inputs", inputs) != inputs
        except InputError as error:
            if work is not None and _has_figures(path):
                _add_what_stays(error, path)
            raise
        finally:
            if not stays or not _has_figures(path):
                _leave(path)


@contextmanager
def filled_folder(out: Path, inputs: Mapping[str, Any]) -> Iterator[Path]:
    """A folder in OUT.partial to fill, which becomes OUT when the block succeeds: for runs that are
    not gone on with. Else nothing stays, and what one that was killed has left goes with the next.

    inputs: the files that may not change meanwhile, see check_unchanged.
    Raises InputError where OUT is taken, where OUT.partial is no run's or holds what a run can go
    on with, and where another run works there; OutputError where nothing can be written.
    """
    out = out.absolute()
    path = work_path(out)
    with locked(out, path):
        cut_off = _has_figures(path)
        try:
            if cut_off:
                problem = "holds what a run that was cut off has found out"
                raise InputError(path, problem, f"{ELSEWHERE}, or remove it")
            _end_replacing(out, path)
            check_run_folder_is_free(out)
            _clear(path)
            folder = new_folder(path)
            yield folder
            check_unchanged(inputs)
            put_in_place(folder, out)
        except OSError as error:
            raise unwritable(out, error) from error
        finally:
            if not cut_off:
                _leave(path)


def _was_cut_off_while_replacing(out: Path, path: Path) -> bool:
    """Whether a run was cut off after OUT had gone, or while its files were moving up, and before
    its successor was in its place."""
    gone = what_is_at(out) == "nothing" and replaced_run(path) is not None
    return gone or what_is_at(path / MOVING) == "a file"


def _end_replacing(out: Path, path: Path) -> None:
    """Have OUT whole again where a run was cut off while it took its place."""
    try:
        if what_is_at(path / MOVING) == "a file":
            move_up(path, out)
        before = replaced_run(path)
        if before is not None and what_is_at(out) == "nothing":
            before.replace(out)
    except (OSError, ValueError) as error:
        raise unwritable(out, error) from error


def _entered(
    out: Path, path: Path, inputs: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> WorkFolder:
    if resume and inputs_of(out) == inputs:
        return WorkFolder(out, path, inputs, started="", finished=True)
    check_may_be_written(out, overwrite=overwrite)
    before = json_object(path / INPUTS)
    recorded = before.get("inputs")
    if isinstance(recorded, dict) and _has_figures(path):
        if resume:
            _check_same(path, recorded, inputs)
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


def _add_what_stays(error: InputError, path: Path) -> None:
    where, problem, remedy = error.args
    stays = (
        f"What is done stays in {path}: {argument('resume')} goes on with it, given the same files "
        "and settings"
    )
    error.args = (where, problem, f"{remedy}. {stays}" if remedy else stays)


def _leave(path: Path) -> None:
    """Remove a work folder, but for what is not ours in it."""
    _clear(path)
    with suppress(OSError):
        (path / LOCK).unlink()
        path.rmdir()


def _clear(path: Path) -> None:
    """Take everything of ours out of a work folder but its lock."""
    for file in list(path.iterdir()):
        if OWN_FOLDER.fullmatch(file.name):
            (remove_unfinished if file.name.startswith(FINISHED) else remove_run)(file)
        written = PIECE.fullmatch(file.name) or file.name.startswith(TEMPORARY)
        ours = written or file.name == INPUTS
        if ours and what_is_at(file) == "a file":
            with suppress(OSError):
                file.unlink()
