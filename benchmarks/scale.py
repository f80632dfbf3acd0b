"""Cost of a run by number of images: `python -m benchmarks.scale SCRATCH --faces 1000000`.

Runs a set of a quarter of the images and one of all of them; the latter is also killed at 60 % and
resumed, and distributed over two processes. Memory must stay constant, processor time must grow
linearly, and all runs of the larger set must write the same figures. A million images take 7.8 GB
in SCRATCH.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
import typer

from benchmarks.lab_files import make_lab_files
from benchmarks.process_cost import ProcessCost, watched
from ytf_torch.sweep.passes import PIECE

VALID = 2048
BLOCK = 4096
KILLED_AT = 0.6

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def scale(
    scratch: Annotated[Path, typer.Argument(help="Folder for face sets; kept.")],
    faces: Annotated[int, typer.Option(min=5 * PIECE, help="Faces of the larger set.")] = 65_536,
) -> None:
    """Measure memory and time of a small and a large run, and of one that is killed and resumed."""
    files = make_lab_files(scratch)
    valid = repeated_set(files.clean_test, scratch / f"valid{VALID}.h5", VALID)
    few, many = (
        repeated_set(files.clean_test, scratch / f"test{count}.h5", count)
        for count in (faces // 4, faces)
    )
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--model", str(files.keras_model), "--clean-valid", str(valid)]
        whole, killed, shared = (Path(folder, name) for name in ("whole", "killed", "shared"))
        say("a quarter", faces // 4, run([*flags, *sets_and_out(few, Path(folder, "few"))]))
        say("all", faces, run([*flags, *sets_and_out(many, whole)]))
        piece = int(faces * KILLED_AT / PIECE) - 1
        entry = Path(folder, "killed.partial", f"swept-1-{piece}.json")
        say("killed", faces, run([*flags, *sets_and_out(many, killed)], kill_when=entry))
        say("gone on", faces, run([*flags, *sets_and_out(many, killed), "--resume"]))
        say("two processes", faces, run([*flags, *sets_and_out(many, shared)], processes=2))
        found = {(run / "result.json").read_bytes() for run in (whole, killed, shared)}
        print("result.json of all three: " + ("the same bytes" if len(found) == 1 else "DIFFERENT"))


def sets_and_out(test: Path, out: Path) -> list[str]:
    """The flags that differ between runs."""
    return ["--clean-test", str(test), "--out", str(out)]


def repeated_set(source: Path, path: Path, faces: int) -> Path:
    """Write a uint8 image set that repeats the images of another one, unless it exists already."""
    if path.exists():
        return path
    with h5py.File(source) as old, h5py.File(path, "w") as new:
        data = new.create_dataset("data", (faces, *old["data"].shape[1:]), np.uint8)
        label = new.create_dataset("label", (faces,), np.int64)
        for start in range(0, faces, BLOCK):
            count = min(BLOCK, faces - start, len(old["data"]))
            first = start * 7 % (len(old["data"]) - count + 1)
            data[start : start + count] = old["data"][first : first + count]
            label[start : start + count] = old["label"][first : first + count]
    return path


def run(flags: list[str], kill_when: Path | None = None, processes: int = 1) -> ProcessCost:
    """Run ytf-prune and measure its cost. kill_when: kill it as soon as this file exists."""
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    shared = launcher if processes > 1 else []
    command = [sys.executable, *shared, "-m", "ytf_torch.commands.prune", *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_in_time() -> None:
        if kill_when is not None and kill_when.exists():
            process.send_signal(signal.SIGKILL)

    return watched(process, kill_in_time)


def say(name: str, faces: int, found: ProcessCost) -> None:
    """Print the figures of one run."""
    print(
        f"{name:<13} {faces:>10,} faces {found.processor_seconds:8.1f} s of processor time "
        f"{found.peak_bytes / 2**20:6.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    app()
