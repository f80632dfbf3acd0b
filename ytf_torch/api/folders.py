"""A run from Python: the flow of the command writes its folder to a temporary place, and what it
wrote is kept until the report is asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ytf_torch.disk.writing import whole_folder

REPORT = "report.html"


@contextmanager
def temporary_run() -> Iterator[Path]:
    """Where a run may write its folder; gone when the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "run"


def files_of(folder: Path) -> dict[str, bytes]:
    """The content of every file in a run folder and below, by its path from there."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_folder(files: Mapping[str, bytes], folder: str | Path) -> Path:
    """Write a run folder, whole or not at all; its report's path.

    Raises InputError where the folder is there already, or cannot be written.
    """
    with whole_folder(Path(folder)) as temporary:
        for name, content in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes(content)
    return Path(folder) / REPORT
