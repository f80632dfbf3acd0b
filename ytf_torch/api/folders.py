"""Run folders in memory: a run writes its folder to a temporary place, and the files are kept until
the user requests the report."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ytf_torch.disk.writing import whole_folder

REPORT = "report.html"


@contextmanager
def temporary_run() -> Iterator[Path]:
    """The path for a run folder, which is deleted when the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "run"


def files_of(folder: Path) -> dict[str, bytes]:
    """Path relative to the run folder → content, for all files in it and in its subfolders."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write_folder(files: Mapping[str, bytes], folder: str | Path) -> Path:
    """Write a run folder atomically. Returns the path of its report.

    Raises InputError where the folder exists already or cannot be written.
    """
    with whole_folder(Path(folder)) as temporary:
        for name, content in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes(content)
    return Path(folder) / REPORT
