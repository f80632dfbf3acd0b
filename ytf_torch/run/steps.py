"""Steps of a run that each produce a folder. Finished steps are stored and not computed again."""

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
    """A step's result as JSON, and the content of its folder's files by relative path."""

    record: Mapping[str, Any]
    files: Mapping[str, bytes]

    def write(self, folder: Path) -> None:
        """Write the step's files into a folder, which is created only if there are any."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def step(work: WorkFolder, name: str, make: Callable[[Path], Mapping[str, Any]]) -> Step:
    """Load a step from the work folder, or run and store it.

    name: letters and hyphens, see PIECE. make: creates and fills the folder of the given path, or
    leaves it out, and returns the step's record. Raises what `make` raises; then nothing is stored.
    """
    stored = _stored(work, name)
    if stored is not None:
        return stored
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name
        record = make(folder)
        paths = names_below(folder) if folder.exists() else []
        files = {path: (folder / path).read_bytes() for path in paths}
    # Files are stored as tensors with names of pieces: clean-up deletes files of no other names.
    for number, content in enumerate(files.values()):
        array = torch.from_numpy(np.frombuffer(content, np.uint8).copy())
        work.keep_tensor(f"{name}-file-{number}", array)
    digests = [[path, sha256(content).hexdigest()] for path, content in files.items()]
    # Written last: its presence says that all files were written before.
    work.keep_record(f"{name}-0", {"record": record, "files": digests})
    return Step(record, files)


def _stored(work: WorkFolder, name: str) -> Step | None:
    """The stored step; None if it has to be run: it is missing, or a file's SHA-256 differs."""
    kept = work.find_record(f"{name}-0")
    if kept is None:
        return None
    files: dict[str, bytes] = {}
    for number, (path, digest) in enumerate(kept["files"]):
        tensor = work.find_tensor(f"{name}-file-{number}")
        content = b"" if tensor is None else tensor.numpy().tobytes()
        if sha256(content).hexdigest() != digest:
            return None
        files[path] = content
    return Step(kept["record"], files)
