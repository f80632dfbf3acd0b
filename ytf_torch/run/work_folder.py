"""OUT.partial: where a run works until its folder is whole, and goes on after it was cut off.

It holds `inputs.json`, what the run is of; the figures of finished pieces, see journal.py; and in
the end `run/`, which becomes OUT in one step. A lock keeps a second run out; it goes with the
process that holds it, however that ends.

People have folders of such names too. So only a folder with our lock file in it is taken for ours,
only files of the names that are written here are deleted, and no link is followed.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from pydantic import TypeAdapter
from torch import Tensor

from ytf_torch.disk.writing import ELSEWHERE, TEMPORARY, sync, what_is_at, whole_file
from ytf_torch.errors import InputError, OutputError, argument, unwritable
from ytf_torch.run.finished import (
    RECORD,
    check_may_be_written,
    inputs_of,
    json_object,
    names_below,
    remove_run,
)
from ytf_torch.run.places import work_path
from ytf_torch.sweep.activation import Activation
from ytf_torch.sweep.journal import Figures, Swept

# The first file in a work folder: what tells that it is one.
LOCK = "ytf-torch.lock"
INPUTS = "inputs.json"
# The run that is finished, and the one it takes the place of, for as long as that takes.
FINISHED, REPLACED = "run", "replaced"
# What finished pieces are kept as: ranked-0.json, swept-1-0.json, ranked-images-0-500.npz.
PIECE = re.compile(r"[a-z-]+(-\d+)+\.(json|npz)")


@dataclass(frozen=True)
class WorkFolder:
    """A run's Journal, and the way to its finished folder.

    path: OUT.partial. inputs: what the run is of, as JSON. started: when it was begun, in UTC.
    resumed: whether an earlier process began it. finished: whether OUT holds this very run.
    """

    out: Path
    path: Path
    inputs: Mapping[str, Any]
    started: str
    resumed: bool = False
    finished: bool = False

    def find(self, name: str, kind: type[Figures]) -> Figures | None:
        """See Journal."""
        try:
            return TypeAdapter(kind).validate_json(self._piece(name, "json").read_bytes())
        except Exception:  # Whatever is wrong with it, the piece is done again.
            return None

    def keep(self, name: str, figures: Activation | Swept) -> None:
        """See Journal. Raises OutputError."""
        with whole_file(self._piece(name, "json")) as temporary:
            temporary.write_bytes(TypeAdapter(type(figures)).dump_json(figures))

    def find_record(self, name: str) -> dict[str, Any] | None:
        """What `keep_record` kept under a name; None where there is none."""
        return json_object(self._piece(name, "json")) or None

    def keep_record(self, name: str, record: Mapping[str, Any]) -> None:
        """Keep figures that are JSON already. Raises OutputError."""
        with whole_file(self._piece(name, "json")) as temporary:
            temporary.write_text(json.dumps(record), encoding="utf-8")

    def find_tensor(self, name: str) -> Tensor | None:
        """See Journal; the zip's checksums tell whether it is whole."""
        try:
            with (
                self._piece(name, "npz").open("rb") as file,
                np.load(file, allow_pickle=False) as stored,
            ):
                order = stored["dimensions"].tolist()
                tensor = torch.from_numpy(stored["tensor"])
            return tensor.permute([order.index(dimension) for dimension in range(len(order))])
        except Exception:  # Not waited for until the disk has it, it may be anything after a stop.
            return None

    def keep_tensor(self, name: str, tensor: Tensor) -> None:
        """See Journal. Its dimensions are stored as they lie in memory: that can decide how
        libraries add."""
        order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
        array = tensor.permute(order).contiguous().cpu().numpy()
        with (
            suppress(OutputError),
            whole_file(self._piece(name, "npz"), durable=False) as temporary,
            temporary.open("wb") as file,
        ):
            np.savez(file, dimensions=np.array(order), tensor=array)

    def _piece(self, name: str, ending: str) -> Path:
        """The file of a piece, by a name that ends in numbers: no others are removed again."""
        if not PIECE.fullmatch(f"{name}.{ending}"):
            raise ValueError(f"{name}: a piece's name is of letters, and ends in -0 or so")
        return self.path / f"{name}.{ending}"

    def finish(self, write: Callable[[Path], None], **record: object) -> None:
        """Let `write` fill a folder, which becomes OUT, with a run.json of dates, machine, files
        and `record` in it. Raises OutputError."""
        folder, replaced = self.path / FINISHED, self.path / REPLACED
        try:
            _remove_folder(folder)
            folder.mkdir()
            write(folder)
            self._write_record(folder, record)
            for file in folder.rglob("*"):
                sync(file)
            sync(folder)
            if inputs_of(self.out) is not None:
                remove_run(replaced)
                self.out.replace(replaced)
            folder.replace(self.out)
            sync(self.out.parent)
        except OSError as error:
            raise unwritable(self.out, error) from error
        remove_run(replaced)

    def _write_record(self, folder: Path, more: Mapping[str, object]) -> None:
        record = {
            "started": self.started,
            "finished": _now(),
            "resumed": self.resumed,
            "machine": f"{platform.platform()}, {platform.machine()}",
            "threads": torch.get_num_threads(),
            **more,
            "files": names_below(folder),
            "inputs": dict(self.inputs),
        }
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")


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
    work = WorkFolder(out, path, inputs, _now())
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
    _remove_folder(path / FINISHED)
    for file in path.iterdir():
        written = PIECE.fullmatch(file.name) or file.name.startswith(TEMPORARY)
        ours = written or file.name == INPUTS
        if ours and what_is_at(file) == "a file":
            with suppress(OSError):
                file.unlink()


def _remove_folder(folder: Path) -> None:
    """Remove a folder that was being filled here, whatever it holds."""
    if what_is_at(folder) == "a folder":
        shutil.rmtree(folder, ignore_errors=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
