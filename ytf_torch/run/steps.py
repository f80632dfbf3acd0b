"""Steps of a run that are whole folders: each is kept when it is done, and not done again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ytf_torch.run.finished import names_below
from ytf_torch.run.work_folder import WorkFolder


@dataclass(frozen=True)
class Step:
    """What a step has found out, as JSON, and the files of its folder by their paths in it."""

    record: Mapping[str, Any]
    files: Mapping[str, bytes]

    def write(self, folder: Path) -> None:
        """Write the step's folder; none where it has no files."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def step(work: WorkFolder, name: str, make: Callable[[Path], Mapping[str, Any]]) -> Step:
    """A step as an earlier start has kept it; or made, and kept, now.

    name: of letters. make: fills a folder, which does not exist yet, and gives the step's record.
    Raises what `make` raises; nothing is kept then.
    """
    known = _kept(work, name)
    if known is not None:
        return known
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / name
        record = make(folder)
        below = names_below(folder) if folder.exists() else []
        files = {one: (folder / one).read_bytes() for one in below}
    for number, content in enumerate(files.values()):
        pieces = torch.from_numpy(np.frombuffer(content, np.uint8).copy())
        work.keep_tensor(f"{name}-file-{number}", pieces)
    digests = [[one, sha256(content).hexdigest()] for one, content in files.items()]
    # Last, so that it is there only where all files are.
    work.keep_record(f"{name}-0", {"record": record, "files": digests})
    return Step(record, files)


def _kept(work: WorkFolder, name: str) -> Step | None:
    """None where the step has to be done: it was not kept, or not all of it is whole."""
    kept = work.find_record(f"{name}-0")
    if kept is None:
        return None
    files: dict[str, bytes] = {}
    for number, (one, digest) in enumerate(kept["files"]):
        found = work.find_tensor(f"{name}-file-{number}")
        content = b"" if found is None else found.numpy().tobytes()
        if sha256(content).hexdigest() != digest:
            return None
        files[one] = content
    return Step(kept["record"], files)
