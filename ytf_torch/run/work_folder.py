"""The work folder OUT.partial, in which a run works until OUT can be written atomically.

It holds `inputs.json`, which records everything the results depend on; the results of finished
pieces, see sweep/journal.py; and at the end the output folder `run/`, which is renamed to OUT.
resume.py decides who may write there, and whether a run resumes from the folder's contents.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from ytf_torch.disk.writing import open_to_others, sync, what_is_at, whole_file
from ytf_torch.errors import OutputError, unwritable
from ytf_torch.run.finished import (
    RECORD,
    RESULT,
    WRITTEN,
    inputs_of,
    json_object,
    names_below,
    remove_files_of_run,
    remove_run,
    remove_unfinished,
)
from ytf_torch.run.inputs import check_unchanged
from ytf_torch.run.lock import MOVING
from ytf_torch.sweep.activation import Activation
from ytf_torch.sweep.journal import Figures, Swept

INPUTS = "inputs.json"
# Folders in OUT.partial while OUT is replaced: the new output, and the previous one, which is moved
# here until the new one is in place. With a number appended where a foreign file has the name.
FINISHED, REPLACED = "run", "replaced"
OWN_FOLDER = re.compile(rf"({FINISHED}|{REPLACED})(-\d+)?")
# Files of finished pieces: ranked-0.json, swept-1-0.json, ranked-images-0-500.npz.
PIECE = re.compile(r"[a-z-]+(-\d+)+\.(json|npz)")


@dataclass(frozen=True)
class WorkFolder:
    """A run's Journal, and the writer of its output folder.

    out: the output folder. path: its work folder, OUT.partial. inputs: everything the results
    depend on, as JSON. started: start time in UTC, ISO 8601. resumed: whether an earlier process
    started the run. finished: whether OUT already holds a finished run of these inputs.
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
            return TypeAdapter(kind).validate_json(self._piece_path(name, "json").read_bytes())
        except Exception:  # Whatever is wrong with the file, the piece is computed again.
            return None

    def keep(self, name: str, figures: Activation | Swept) -> None:
        """See Journal. Raises OutputError, and InputError where an image set has changed."""
        # Checked before every write: otherwise results from two versions of a file could be mixed.
        check_unchanged(self.inputs)
        with whole_file(self._piece_path(name, "json")) as temporary:
            temporary.write_bytes(TypeAdapter(type(figures)).dump_json(figures))

    def find_record(self, name: str) -> dict[str, Any] | None:
        """The record stored by `keep_record`; None where it is missing or its SHA-256 differs."""
        stored = json_object(self._piece_path(name, "json"))
        record = stored.get("record")
        intact = isinstance(record, dict) and stored.get("sha256") == _digest(record)
        return record if intact else None

    def keep_record(self, name: str, record: Mapping[str, Any]) -> None:
        """Store a JSON object under a name, with its SHA-256. Raises as `keep` does."""
        check_unchanged(self.inputs)
        with whole_file(self._piece_path(name, "json")) as temporary:
            stored = {"sha256": _digest(record), "record": record}
            temporary.write_text(json.dumps(stored), encoding="utf-8")

    def find_tensor(self, name: str) -> Tensor | None:
        """See Journal. The CRC-32 checksums of the .npz detect damage."""
        try:
            with (
                self._piece_path(name, "npz").open("rb") as file,
                np.load(file, allow_pickle=False) as stored,
            ):
                axes = stored["dimensions"].tolist()
                tensor = torch.from_numpy(stored["tensor"])
            return tensor.permute([axes.index(axis) for axis in range(len(axes))])
        except Exception:  # Written without fsync: after a crash it may be missing or hold garbage.
            return None

    def keep_tensor(self, name: str, tensor: Tensor) -> None:
        """See Journal. Does nothing where the disk is full or cannot be written.

        The order of the dimensions in memory is stored with the tensor: libraries choose their
        kernels by the memory format, so it can decide the last bits of later results.
        """
        order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
        array = tensor.permute(order).contiguous().cpu().numpy()
        with (
            suppress(OutputError),  # A cache only: without it, the images are prepared again.
            whole_file(self._piece_path(name, "npz"), durable=False) as temporary,
            temporary.open("wb") as file,
        ):
            np.savez(file, dimensions=np.array(order), tensor=array)

    def _piece_path(self, name: str, ending: str) -> Path:
        """The file of a piece. Only files whose names match PIECE are ever cleaned up, so others
        may not be written."""
        if not PIECE.fullmatch(f"{name}.{ending}"):
            raise ValueError(f"{name}: expected letters and a final number, such as ranked-0")
        return self.path / f"{name}.{ending}"

    def finish(self, write: Callable[[Path], None], **record: object) -> None:
        """Let `write` fill a folder, add run.json, and make the folder OUT, atomically.

        record: further entries of run.json, next to its dates, machine and list of files.
        Raises OutputError, and InputError where an image set has changed.
        """
        check_unchanged(self.inputs)
        try:
            folder = new_folder(self.path)
            write(folder)
            self._write_record(folder, record)
            put_in_place(folder, self.out)
        except OSError as error:
            raise unwritable(self.out, error) from error

    def _write_record(self, folder: Path, details: Mapping[str, object]) -> None:
        record = {
            "started": self.started,
            "finished": now(),
            "resumed": self.resumed,
            "machine": f"{platform.platform()}, {platform.machine()}",
            "threads": torch.get_num_threads(),
            **details,
            "files": [name for name in names_below(folder) if WRITTEN.fullmatch(Path(name).name)],
            "inputs": dict(self.inputs),
        }
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")


def _digest(record: Mapping[str, Any]) -> str:
    return sha256(json.dumps(record).encode()).hexdigest()


def new_folder(path: Path) -> Path:
    """Create an empty folder in OUT.partial for the run's output; an unfinished one is removed."""
    remove_unfinished(path / FINISHED)
    folder = _unused_path(path, FINISHED)
    folder.mkdir()
    return folder


def put_in_place(folder: Path, out: Path) -> None:
    """Make a filled folder in OUT.partial the folder OUT.

    It is renamed, which is atomic. No folder can be renamed to a mount point: there its files are
    moved one by one, and run.json last, which marks a run as finished. Raises OSError.
    """
    # A rename may reach the disk before the data of the files: without fsync, a power failure could
    # leave a complete-looking OUT of empty files.
    for file in folder.rglob("*"):
        sync(file)
    sync(folder)
    open_to_others(folder)
    if folder.parent.parent == out:
        # OUT is a mount point. Names the folder to move, so that an interrupted move is completed
        # by the next run rather than repeated or undone.
        with whole_file(folder.parent / MOVING) as temporary:
            temporary.write_text(folder.name)
        move_up(folder.parent, out)
        return
    # The previous run is moved aside and deleted only when its successor is in place. A crash
    # between the two renames leaves no OUT; resume.py then moves the previous run back.
    replaced = _unused_path(folder.parent, REPLACED)
    if inputs_of(out) is not None:
        out.replace(replaced)
    folder.replace(out)
    sync(out.parent)
    remove_run(replaced)


def move_up(path: Path, out: Path) -> None:
    """Move the files of the folder that MOVING names up into OUT, a mount point.

    Continues an interrupted move. A finished run that lies in OUT is removed first. Raises OSError.
    """
    # MOVING could have been edited: only a folder name that a run itself creates is followed.
    folder = path / (path / MOVING).read_text()
    if OWN_FOLDER.fullmatch(folder.name) and what_is_at(folder) == "a folder":
        # While run.json is still here, OUT may hold the previous run. Of that, run.json is deleted
        # last, and without it nothing more is: a repeated call cannot delete files moved already.
        if what_is_at(folder / RECORD) == "a file":
            remove_files_of_run(out)
        # result.json and run.json mark a run as finished, so they move last.
        for name in sorted(names_below(folder), key=lambda name: (name == RECORD, name == RESULT)):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).replace(out / name)
        sync(out)
        remove_unfinished(folder)
    (path / MOVING).unlink()


def replaced_run(path: Path) -> Path | None:
    """The previous run, moved aside in OUT.partial while it was being replaced; None if absent."""
    if what_is_at(path) != "a folder":
        return None
    folders = (folder for folder in sorted(path.iterdir()) if folder.name.startswith(REPLACED))
    runs = (folder for folder in folders if OWN_FOLDER.fullmatch(folder.name))
    return next((run for run in runs if inputs_of(run) is not None), None)


def _unused_path(path: Path, name: str) -> Path:
    """The first unused path of name, name-1, name-2, … in a folder."""
    names = (name if number == 0 else f"{name}-{number}" for number in count())
    return next(
        path / candidate for candidate in names if what_is_at(path / candidate) == "nothing"
    )


def now() -> str:
    """The current time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
