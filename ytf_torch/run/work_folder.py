"""OUT.partial: where a run works until its folder is whole.

It holds `inputs.json`, with what the run's figures depend on; the figures of finished pieces, see
sweep/journal.py; and in the end `run/`, which becomes OUT in one step. Who may write there, and
whether a run goes on with what is there already, is decided in resume.py.
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
# The run that is finished, and the one it takes the place of, for as long as that takes; with a
# number behind it where something of somebody else's has the name.
FINISHED, REPLACED = "run", "replaced"
OWN_FOLDER = re.compile(rf"({FINISHED}|{REPLACED})(-\d+)?")
# What finished pieces are kept as: ranked-0.json, swept-1-0.json, ranked-images-0-500.npz.
PIECE = re.compile(r"[a-z-]+(-\d+)+\.(json|npz)")


@dataclass(frozen=True)
class WorkFolder:
    """A run's Journal, and the way to its finished folder.

    path: OUT.partial. inputs: what the run's figures depend on, as JSON. started: when it was
    begun, in UTC. resumed: whether an earlier process began it. finished: whether OUT holds a
    finished run of these inputs already.
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
        """See Journal. Raises OutputError, and InputError where a face set has changed."""
        check_unchanged(self.inputs)
        with whole_file(self._piece(name, "json")) as temporary:
            temporary.write_bytes(TypeAdapter(type(figures)).dump_json(figures))

    def find_record(self, name: str) -> dict[str, Any] | None:
        """What `keep_record` kept under a name; None where there is none, or it has changed."""
        kept = json_object(self._piece(name, "json"))
        record = kept.get("record")
        whole = isinstance(record, dict) and kept.get("sha256") == _digest(record)
        return record if whole else None

    def keep_record(self, name: str, record: Mapping[str, Any]) -> None:
        """Keep figures that are JSON already. Raises as `keep` does."""
        check_unchanged(self.inputs)
        with whole_file(self._piece(name, "json")) as temporary:
            kept = {"sha256": _digest(record), "record": record}
            temporary.write_text(json.dumps(kept), encoding="utf-8")

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
        and `record` in it. Raises OutputError, and InputError where a face set has changed."""
        check_unchanged(self.inputs)
        try:
            folder = new_folder(self.path)
            write(folder)
            self._write_record(folder, record)
            put_in_place(folder, self.out)
        except OSError as error:
            raise unwritable(self.out, error) from error

    def _write_record(self, folder: Path, more: Mapping[str, object]) -> None:
        record = {
            "started": self.started,
            "finished": now(),
            "resumed": self.resumed,
            "machine": f"{platform.platform()}, {platform.machine()}",
            "threads": torch.get_num_threads(),
            **more,
            "files": [name for name in names_below(folder) if WRITTEN.fullmatch(Path(name).name)],
            "inputs": dict(self.inputs),
        }
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")


def _digest(record: Mapping[str, Any]) -> str:
    return sha256(json.dumps(record).encode()).hexdigest()


def new_folder(path: Path) -> Path:
    """A new folder in OUT.partial for a run to fill."""
    remove_unfinished(path / FINISHED)
    folder = _free(path, FINISHED)
    folder.mkdir()
    return folder


def put_in_place(folder: Path, out: Path) -> None:
    """Have a filled folder in OUT.partial become OUT, in one step; where OUT is a mount point its
    files move up one by one, the last of which says that it is whole. Raises OSError."""
    for file in folder.rglob("*"):
        sync(file)
    sync(folder)
    open_to_others(folder)
    if folder.parent.parent == out:
        with whole_file(folder.parent / MOVING) as temporary:
            temporary.write_text(folder.name)
        move_up(folder.parent, out)
        return
    replaced = _free(folder.parent, REPLACED)
    if inputs_of(out) is not None:
        out.replace(replaced)
    folder.replace(out)
    sync(out.parent)
    remove_run(replaced)


def move_up(path: Path, out: Path) -> None:
    """Move the files of the filled folder that MOVING names into OUT, or those that are left of
    them where that was cut off; a finished run that was there goes. Raises OSError."""
    folder = path / (path / MOVING).read_text()
    if OWN_FOLDER.fullmatch(folder.name) and what_is_at(folder) == "a folder":
        if what_is_at(folder / RECORD) == "a file":
            remove_files_of_run(out)
        # What says that a run is finished comes last.
        for name in sorted(names_below(folder), key=lambda name: (name == RECORD, name == RESULT)):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).replace(out / name)
        sync(out)
        remove_unfinished(folder)
    (path / MOVING).unlink()


def replaced_run(path: Path) -> Path | None:
    """The finished run in OUT.partial whose place another was to take; None where there is none."""
    if what_is_at(path) != "a folder":
        return None
    found = (folder for folder in sorted(path.iterdir()) if folder.name.startswith(REPLACED))
    runs = (folder for folder in found if OWN_FOLDER.fullmatch(folder.name))
    return next((run for run in runs if inputs_of(run) is not None), None)


def _free(path: Path, name: str) -> Path:
    """The first of name, name-1, … in a folder at which nothing lies."""
    names = (name if number == 0 else f"{name}-{number}" for number in count())
    return next(path / free for free in names if what_is_at(path / free) == "nothing")


def now() -> str:
    """This moment in UTC, to the second, as a record has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
