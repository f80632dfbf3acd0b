"""Runs of ytf-prune killed at random moments and started again with --resume, until they finish.

`python -m tests.run.kills --kills 200` prints how many there were and what became of them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from tests.made.keras_files import (
    SMALL,
    random_images,
    random_weights,
    write_faces,
    write_keras_file,
)
from ytf_torch.commands.endings import end_at_once, handle
from ytf_torch.commands.prune import app
from ytf_torch.disk.writing import TEMPORARY
from ytf_torch.sweep import passes as sweep

IMAGES = {"valid": 600, "test": 300, "bd_test": 300}
# Small, so that there are many moments between two of them.
PIECE = 64
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
COMPARED = ("result.json", "trace.csv", "settings.toml", "sweep.png", "report.html")


def write_inputs(folder: Path) -> dict[str, Path]:
    """Write a small network, and images with random labels."""
    paths = {"model": write_keras_file(folder / "net.h5", SMALL, random_weights(SMALL))}
    rng = np.random.default_rng(0)
    for seed, (name, images) in enumerate(IMAGES.items()):
        labels = rng.integers(0, SMALL.classes, images)
        pixels = random_images(SMALL, images, seed)
        paths[name] = write_faces(folder / f"{name}.h5", pixels, labels)
    return paths


def arguments(inputs: dict[str, Path], out: Path) -> list[str]:
    """The arguments of ytf-prune, without --resume."""
    flags = {"--model": "model", "--clean-valid": "valid", "--clean-test": "test"}
    flags["--poisoned-test"] = "bd_test"
    named = [text for flag, name in flags.items() for text in (flag, str(inputs[name]))]
    return [*named, "--drops", "2", "--device", "cpu", "--out", str(out)]


def start(inputs: dict[str, Path], out: Path, *more: str) -> int:
    """Run ytf-prune in a child process of its own, the first of a group; its number.

    Forked, so that a kill does not cost the seconds that importing PyTorch takes. What it prints
    goes to OUT.out and OUT.err.
    """
    # As in commands/start.py, signals are handled from the beginning.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child
    status = 70
    try:
        os.setsid()
        for number, ending in ((1, "out"), (2, "err")):
            log = out.with_name(f"{out.name}.{ending}")
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        handle(end_at_once)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        app([*arguments(inputs, out), *more])
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def wait(child: int) -> int:
    """A child's exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_process(child: int, number: int) -> None:
    """Signal the process alone, as `kill` does."""
    os.kill(child, number)


def kill_group(child: int, number: int) -> None:
    """Signal the whole process group, as Ctrl-C in a terminal and `timeout` do."""
    os.killpg(child, number)


def kill_all(child: int, number: int) -> None:
    """Signal the child processes first, as batch systems and service managers may do."""
    for process in (*_children(child), child):
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _children(parent: int) -> list[int]:
    """The child processes of a process; none where the system does not list them."""
    found = []
    for process in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = process.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(process.parent.name))
    return found


# Half of the kills to the process alone, the others to it and its readers.
KILLS = (kill_process, kill_process, kill_group, kill_all)


def ended_well(printed: str, number: signal.Signals) -> bool:
    """Whether a killed process's standard error is as expected: one line, or none if it had no
    time to write it."""
    line = f"error: stopped by {number.name}"
    allowed = {"", f"{line}\n", f"{line}. Go on with --resume\n"}
    return printed in ({""} if number == signal.SIGKILL else allowed - {""})


def contents(folder: Path) -> dict[str, str]:
    """The files of a run folder that are determined by the inputs, byte for byte."""
    names = [*COMPARED, *(path.name for path in folder.glob("*.safetensors"))]
    return {name: sha256((folder / name).read_bytes()).hexdigest() for name in names}


def digests(inputs: dict[str, Path]) -> dict[str, str]:
    """SHA-256 of every input."""
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in inputs.items()}


@dataclass
class Outcome:
    """kills: of processes still at work, by signal and target. runs: number of completed runs.
    resumed: how many of these reused results of a killed process."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    resumed: int = 0
    failures: list[str] = field(default_factory=list)


def kill_and_resume(
    kills: int, seed: int, folder: Path, say: Callable[[str], None] = lambda line: None
) -> Outcome:
    """Kill runs until the given number of kills hit a working process; each run is completed."""
    sweep.PIECE = PIECE
    torch.set_num_threads(1)
    rng = random.Random(seed)
    inputs, outcome = write_inputs(folder), Outcome()
    before = digests(inputs)
    began = time.perf_counter()
    if wait(start(inputs, folder / "whole")) != 0:
        raise RuntimeError(f"the uninterrupted run failed: {(folder / 'whole.err').read_text()}")
    longest = time.perf_counter() - began
    expected = contents(folder / "whole")
    while outcome.kills.total() < kills:
        outcome.runs += 1
        out = folder / f"run{outcome.runs}"
        while not kill_once(inputs, out, rng, longest, outcome):
            if out.exists() and contents(out) != expected:
                outcome.failures.append(f"{out.name}: half-written or wrong")
        if out.exists():
            outcome.resumed += json.loads((out / "run.json").read_text())["resumed"]
            if contents(out) != expected:
                outcome.failures.append(f"{out.name}: another result")
        left = {path.name for path in folder.iterdir()} - {f"{out.name}.out", f"{out.name}.err"}
        left = {name for name in left if name.startswith((f"{out.name}.", TEMPORARY))}
        if left:
            outcome.failures.append(f"{out.name}: {sorted(left)} left behind")
        say(f"{outcome.kills.total()} kills, {outcome.runs} runs, {len(outcome.failures)} failures")
    if digests(inputs) != before:
        outcome.failures.append("an input has changed")
    return outcome


def kill_once(
    inputs: dict[str, Path], out: Path, rng: random.Random, longest: float, outcome: Outcome
) -> bool:
    """Resume a run and kill it some time later. Returns whether it had already finished."""
    number, kill = rng.choice(SIGNALS), rng.choice(KILLS)
    child = start(inputs, out, "--resume")
    time.sleep(rng.uniform(0, longest))
    with suppress(ProcessLookupError):
        kill(child, number)
    status = wait(child)
    printed = out.with_name(f"{out.name}.err").read_text()
    name = f"{number.name} by {kill.__name__}"
    if status == (-number if number == signal.SIGKILL else 128 + number):
        outcome.kills[name] += 1
        if not ended_well(printed, number):
            outcome.failures.append(f"{out.name}: after {name} it printed\n{printed}")
        return False
    if status != 0 or printed:
        outcome.failures.append(f"{out.name}: exit status {status} after {name}\n{printed}")
    return True


def main() -> int:
    """Kill as often as requested, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = kill_and_resume(options.kills, options.seed, Path(folder), print)
    print(f"seed {options.seed}: {outcome.kills.total()} kills in {outcome.runs} runs, of which")
    print(f"{outcome.resumed} runs went on with what a killed process had found out")
    print(", ".join(f"{count} {name}" for name, count in sorted(outcome.kills.items())))
    print(f"{len(outcome.failures)} failures")
    print(*outcome.failures, sep="\n")
    return bool(outcome.failures)


if __name__ == "__main__":
    sys.exit(main())
