"""How a run begins: from scratch, from an interrupted run's results, or not at all.

A lock in OUT.partial excludes a second run, see lock.py. A run resumes only if its inputs are
identical to those of the interrupted run.

Clean-up deletes only files with names that runs write, and never follows a link: a user may have
put files of his own there.
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
from ytf_torch.errors import InputError, WrongSettingError, argument, unwritable
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
    """The work folder of a run into OUT, locked for this process.

    inputs: everything the results depend on. resume: continue an interrupted run of the same
    inputs, if there is one. overwrite: replace a finished run in OUT; without `resume`, also
    discard an interrupted run's results.

    The folder is removed when the run is finished, or where a setting turns out to be wrong. If
    the run ends otherwise, the folder stays if it holds results of finished pieces.

    Raises InputError where OUT is taken, where OUT.partial is not a run's, and where an interrupted
    run would be lost or had other inputs; OutputError where nothing can be written.
    """
    # Through JSON and back, so that they compare equal to what inputs.json holds.
    out, inputs = out.absolute(), json.loads(json.dumps(inputs))
    path = work_path(out)
    # _begin checks this again under the lock; here no work folder has been created yet.
    check_out_may_be_used(out, resume=resume, overwrite=overwrite)
    with locked(out, path):
        keep, work = True, None
        try:
            _complete_replacement(out, path)
            work = _begin(out, path, inputs, resume=resume, overwrite=overwrite)
            yield work
            # If OUT was finished before, a work folder is kept only if, by its inputs.json, it
            # belongs to another run, which can still be resumed.
            keep = work.finished and json_object(path / INPUTS).get("inputs", inputs) != inputs
        except WrongSettingError:
            keep = False
            raise
        except InputError as error:
            if work is not None and _has_results(path):
                _add_resume_hint(error, path)
            raise
        finally:
            if not keep or not _has_results(path):
                _remove_work_folder(path)


def check_out_may_be_used(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raises InputError where work_folder refuses OUT whatever the inputs are. It reads no image,
    so commands call it first: opening large sets takes seconds."""
    out = out.absolute()
    path = work_path(out)
    check_is_ours(path)
    if not resume and not _was_interrupted_while_replacing(out, path):
        check_may_be_written(out, overwrite=overwrite)


@contextmanager
def filled_folder(out: Path, inputs: Mapping[str, Any]) -> Iterator[Path]:
    """A folder in OUT.partial to fill, which becomes OUT, atomically, if the block succeeds.

    For runs that cannot be resumed. If the block fails, nothing is left; what a killed process
    leaves, the next run removes.

    inputs: the files that must not change in the meantime, see check_unchanged.
    Raises InputError where OUT is taken, where OUT.partial is not a run's or can be resumed by
    another command, and where another run works there; OutputError where nothing can be written.
    """
    out = out.absolute()
    path = work_path(out)
    with locked(out, path):
        interrupted = _has_results(path)
        try:
            if interrupted:
                problem = "holds results of an interrupted run"
                raise InputError(path, problem, f"{ELSEWHERE}, or remove it")
            _complete_replacement(out, path)
            check_run_folder_is_free(out)
            _clear(path)
            folder = new_folder(path)
            yield folder
            check_unchanged(inputs)
            put_in_place(folder, out)
        except OSError as error:
            raise unwritable(out, error) from error
        finally:
            if not interrupted:
                _remove_work_folder(path)


def _was_interrupted_while_replacing(out: Path, path: Path) -> bool:
    """Whether a run was interrupted between the two renames of put_in_place, or within move_up."""
    gone = what_is_at(out) == "nothing" and replaced_run(path) is not None
    return gone or what_is_at(path / MOVING) == "a file"


def _complete_replacement(out: Path, path: Path) -> None:
    """Complete OUT where a run was interrupted while replacing it: complete a move into a mount
    point, or else move the previous run back."""
    try:
        if what_is_at(path / MOVING) == "a file":
            move_up(path, out)
        previous = replaced_run(path)
        if previous is not None and what_is_at(out) == "nothing":
            previous.replace(out)
    except (OSError, ValueError) as error:
        raise unwritable(out, error) from error


def _begin(
    out: Path, path: Path, inputs: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> WorkFolder:
    """Decide how the run starts: OUT is finished already, resume, or clear the work folder."""
    if resume and inputs_of(out) == inputs:
        return WorkFolder(out, path, inputs, started="", finished=True)
    check_may_be_written(out, overwrite=overwrite)
    stored = json_object(path / INPUTS)
    recorded = stored.get("inputs")
    if isinstance(recorded, dict) and _has_results(path):
        if resume:
            _check_same(path, recorded, inputs)
            return WorkFolder(out, path, inputs, str(stored.get("started", "")), resumed=True)
        if not overwrite:
            problem = "holds results of an interrupted run"
            remedy = f"Go on with {argument('resume')}, or start anew with {argument('overwrite')}"
            raise InputError(path, problem, remedy)
    # Pieces without a readable inputs.json are discarded too: their inputs are unknown.
    _clear(path)
    work = WorkFolder(out, path, inputs, now())
    with whole_file(path / INPUTS) as temporary:
        temporary.write_text(json.dumps({"started": work.started, "inputs": inputs}, indent=1))
    return work


def _check_same(path: Path, recorded: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    for name in sorted(recorded.keys() | inputs.keys()):
        if recorded.get(name) != inputs.get(name):
            raise InputError(
                path,
                f"holds results of an interrupted run with different {name}",
                f"Give the same files and settings, or start anew with {argument('overwrite')}",
            )


def _has_results(path: Path) -> bool:
    names = (file.name for file in path.iterdir())
    return any(PIECE.fullmatch(name) and name.endswith(".json") for name in names)


def _add_resume_hint(error: InputError, path: Path) -> None:
    where, problem, remedy = error.args
    hint = (
        f"Finished pieces stay in {path}: {argument('resume')} continues from them, given the same "
        "files and settings"
    )
    # Changed in place, so that the error keeps its traceback.
    error.args = (where, problem, f"{remedy}. {hint}" if remedy else hint)


def _remove_work_folder(path: Path) -> None:
    """Remove a work folder; the folder itself only if no foreign file is in it."""
    _clear(path)
    # The lock file last, as a folder without it is no longer taken for ours.
    with suppress(OSError):
        (path / LOCK).unlink()
        path.rmdir()


def _clear(path: Path) -> None:
    """Remove everything that runs write from a work folder, except the lock file."""
    for file in list(path.iterdir()):
        if OWN_FOLDER.fullmatch(file.name):
            (remove_unfinished if file.name.startswith(FINISHED) else remove_run)(file)
        piece_or_temporary = PIECE.fullmatch(file.name) or file.name.startswith(TEMPORARY)
        removable = piece_or_temporary or file.name == INPUTS
        if removable and what_is_at(file) == "a file":
            with suppress(OSError):
                file.unlink()
