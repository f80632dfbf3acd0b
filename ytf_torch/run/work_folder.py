"""OUT.partial: where a run works until its folder is whole, and goes on after it was cut off.

It holds `inputs.json`, what the run is of; the figures of finished pieces, see journal.py; and in
the end `run/`, which becomes OUT in one step. A lock keeps a second run out; it goes with the
process that holds it, however that ends.
"""

from __future__ import annotations

import json
import platform
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from ytf_torch.disk.writing import RECORD, check_run_folder_is_free, sync, whole_file
from ytf_torch.errors import InputError, OutputError, unwritable
from ytf_torch.sweep.activation import Activation
from ytf_torch.sweep.journal import Figures, Swept

LOCK = "lock"
INPUTS = "inputs.json"
FINISHED = "run"
# What a run writes, and the demo beside it: all that may be lost by --overwrite.
OWN_NAMES = {
    "result.json",
    "trace.csv",
    "sweep.png",
    "report.html",
    "settings.toml",
    RECORD,
    "data",
}
OWN_PREFIX = "pruned_drop"


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
            return TypeAdapter(kind).validate_json((self.path / f"{name}.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def keep(self, name: str, figures: Activation | Swept) -> None:
        """See Journal. Raises OutputError."""
        with whole_file(self.path / f"{name}.json") as temporary:
            temporary.write_bytes(TypeAdapter(type(figures)).dump_json(figures))

    def find_tensor(self, name: str) -> Tensor | None:
        """See Journal; the zip's checksums tell whether it is whole."""
        try:
            with np.load(self.path / f"{name}.npz", allow_pickle=False) as stored:
                order = stored["dimensions"].tolist()
                tensor = torch.from_numpy(stored["tensor"])
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return tensor.permute([order.index(dimension) for dimension in range(len(order))])

    def keep_tensor(self, name: str, tensor: Tensor) -> None:
        """See Journal. Its dimensions are stored as they lie in memory: that can decide how
        libraries add."""
        order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
        array = tensor.permute(order).contiguous().cpu().numpy()
        with (
            suppress(OutputError),
            whole_file(self.path / f"{name}.npz", durable=False) as temporary,
            temporary.open("wb") as file,
        ):
            np.savez(file, dimensions=np.array(order), tensor=array)

    def finish(self, write: Callable[[Path], None], **record: object) -> None:
        """Let `write` fill a folder, which becomes OUT, with a run.json of dates, machine and
        `record` in it. Raises OutputError."""
        folder = self.path / FINISHED
        replaced = self.path.with_name(f"{self.out.name}.replaced")
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            write(folder)
            (folder / RECORD).write_text(json.dumps(self._record(record), indent=1) + "\n")
            for file in folder.iterdir():
                sync(file)
            sync(folder)
            if (self.out / "result.json").exists():
                shutil.rmtree(replaced, ignore_errors=True)
                self.out.replace(replaced)
            folder.replace(self.out)
            sync(self.out.parent)
        except OSError as error:
            raise unwritable(self.out, error) from error
        shutil.rmtree(replaced, ignore_errors=True)

    def _record(self, more: Mapping[str, object]) -> dict[str, object]:
        return {
            "started": self.started,
            "finished": _now(),
            "resumed": self.resumed,
            "machine": f"{platform.platform()}, {platform.machine()}",
            "threads": torch.get_num_threads(),
            **more,
            "inputs": dict(self.inputs),
        }


@contextmanager
def work_folder(
    out: Path, inputs: Mapping[str, object], *, resume: bool = False, overwrite: bool = False
) -> Iterator[WorkFolder]:
    """The work folder of a run into OUT, for this process alone.

    inputs: everything the run's figures depend on. resume: go on where a run of the same inputs
    was cut off, if there is one. overwrite: replace a finished run in OUT; without `resume`, also
    drop what a run that was cut off has left.
    The folder is gone when the run is finished, or failed by an input's fault; else it stays.
    Raises InputError where OUT is taken, where a run that was cut off would be lost, or is one of
    other inputs; OutputError where nothing can be written.
    """
    out = out.absolute()
    path, inputs = out.with_name(f"{out.name}.partial"), json.loads(json.dumps(inputs))
    if not resume:
        _check_free(out, overwrite=overwrite)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        problem = "another run is writing it at this moment"
        raise InputError(out, problem, "Wait for it, or choose another --out") from error
    except (OSError, NotImplementedError) as error:
        raise unwritable(out, error) from error
    stays, work = True, None
    try:
        work = _entered(out, path, inputs, resume=resume, overwrite=overwrite)
        yield work
        stays = work.finished and _record_of(path / INPUTS).get("inputs") != inputs
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


def _entered(
    out: Path, path: Path, inputs: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> WorkFolder:
    if resume and _record_of(out / RECORD).get("inputs") == inputs:
        return WorkFolder(out, path, inputs, started="", finished=True)
    _check_free(out, overwrite=overwrite)
    before = _record_of(path / INPUTS)
    if before and _has_figures(path):
        if resume:
            _check_same(path, before.get("inputs", {}), inputs)
            return WorkFolder(out, path, inputs, before.get("started", ""), resumed=True)
        if not overwrite:
            problem = "holds what a run that was cut off has found out"
            raise InputError(path, problem, "Go on with --resume, or start anew with --overwrite")
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
                "Give the same files and flags, or start anew with --overwrite",
            )


def _check_free(out: Path, *, overwrite: bool) -> None:
    """Raises InputError where OUT may not be written."""
    if not (out / "result.json").is_file():
        check_run_folder_is_free(out)
        return
    if not overwrite:
        problem = "already holds a finished run"
        raise InputError(out, problem, "Choose another --out, or replace it with --overwrite")
    for file in sorted(out.iterdir()):
        if file.name not in OWN_NAMES and not file.name.startswith(OWN_PREFIX):
            problem = f"holds {file.name}, which no run has written"
            raise InputError(out, problem, "Move it elsewhere, or choose another --out")


def _record_of(file: Path) -> dict[str, Any]:
    """A JSON file of ours; empty where there is none."""
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _has_figures(path: Path) -> bool:
    return any(file.name != INPUTS for file in path.glob("*.json"))


def _clear(path: Path) -> None:
    """Take everything out of a work folder but its lock."""
    for file in path.iterdir():
        if file.is_dir():
            shutil.rmtree(file, ignore_errors=True)
        elif file.name != LOCK:
            with suppress(OSError):
                file.unlink()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
