"""Runs of ytf-prune killed at random moments and started again with --resume, until they finish.

`python -m tests.run.kills --kills 200` prints how many there were and what became of them.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
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
from ytf_torch.commands.prune import app
from ytf_torch.sweep import passes as sweep

IMAGES = {"valid": 600, "test": 300, "bd_test": 300}
# Small, so that there are many moments between two of them.
PIECE = 64
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
COMPARED = ("result.json", "trace.csv", "settings.toml", "sweep.png", "report.html")


def write_inputs(folder: Path) -> dict[str, Path]:
    """A small network and faces with random labels, as files."""
    paths = {"model": write_keras_file(folder / "net.h5", SMALL, random_weights(SMALL))}
    rng = np.random.default_rng(0)
    for seed, (name, images) in enumerate(IMAGES.items()):
        labels = rng.integers(0, SMALL.classes, images)
        pixels = random_images(SMALL, images, seed)
        paths[name] = write_faces(folder / f"{name}.h5", pixels, labels)
    return paths


def arguments(inputs: dict[str, Path], out: Path) -> list[str]:
    """ytf-prune's, without --resume."""
    flags = {"--model": "model", "--clean-valid": "valid", "--clean-test": "test"}
    flags["--poisoned-test"] = "bd_test"
    named = [text for flag, name in flags.items() for text in (flag, str(inputs[name]))]
    return [*named, "--drops", "2", "--device", "cpu", "--out", str(out)]


def start(inputs: dict[str, Path], out: Path, *more: str) -> int:
    """Run ytf-prune in a child process of its own; its number.

    Forked, so that a kill does not cost the seconds that importing PyTorch takes. What it prints
    goes to OUT.log.
    """
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        log = os.open(out.with_name(f"{out.name}.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        app([*arguments(inputs, out), *more])
    except SystemExit as end:
        status = int(end.code or 0)
    except KeyboardInterrupt:  # before the command has begun: Python itself ends like this
        status = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(child: int) -> int:
    """A child's exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def contents(folder: Path) -> dict[str, str]:
    """What a run folder holds of which every byte is decided by the inputs."""
    names = [*COMPARED, *(path.name for path in folder.glob("*.safetensors"))]
    return {name: sha256((folder / name).read_bytes()).hexdigest() for name in names}


def digests(inputs: dict[str, Path]) -> dict[str, str]:
    """SHA-256 of every input."""
    return {name: sha256(path.read_bytes()).hexdigest() for name, path in inputs.items()}


@dataclass
class Outcome:
    """kills: by signal, of processes that were still at work. resumed: starts that found a run
    to go on with."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    resumed: int = 0
    failures: list[str] = field(default_factory=list)


def kill_and_resume(
    kills: int, seed: int, folder: Path, say: Callable[[str], None] = lambda line: None
) -> Outcome:
    """Kill runs until so many kills have met a process at work; every run is resumed to its end."""
    sweep.PIECE = PIECE
    torch.set_num_threads(1)
    rng = random.Random(seed)
    inputs, outcome = write_inputs(folder), Outcome()
    before = digests(inputs)
    began = time.perf_counter()
    if wait(start(inputs, folder / "whole")) != 0:
        raise RuntimeError("the uninterrupted run failed")
    longest = time.perf_counter() - began
    expected = contents(folder / "whole")
    while outcome.kills.total() < kills:
        outcome.runs += 1
        out = folder / f"run{outcome.runs}"
        status: int | None = None
        while status != 0:
            # Few kills in a row, or a run would never get to its end.
            chosen = rng.choice(SIGNALS)
            outcome.resumed += any(out.with_name(f"{out.name}.partial").glob("*-*.json"))
            child = start(inputs, out, "--resume")
            time.sleep(rng.uniform(0, longest))
            os.kill(child, chosen)
            status = wait(child)
            met = status in (-chosen, 128 + chosen)
            if met:
                outcome.kills[chosen.name] += 1
            elif status != 0:
                printed = out.with_name(f"{out.name}.log").read_text()
                outcome.failures.append(
                    f"{out.name}: exit status {status} after {chosen.name}\n{printed}"
                )
                break
            if out.exists() and contents(out) != expected:
                outcome.failures.append(f"{out.name}: half-written or wrong after {chosen.name}")
        if status == 0 and contents(out) != expected:
            outcome.failures.append(f"{out.name}: another result")
        left = {path.name for path in folder.glob(f"*{out.name}[.]*")}
        left = {name for name in left if not name.endswith((".partial", ".log"))}
        if left:
            outcome.failures.append(f"{out.name}: {sorted(left)} left behind")
        say(f"{outcome.kills.total()} kills, {outcome.runs} runs, {len(outcome.failures)} failures")
    if digests(inputs) != before:
        outcome.failures.append("an input has changed")
    return outcome


def main() -> int:
    """Kill as often as asked for and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = kill_and_resume(options.kills, options.seed, Path(folder), print)
    by_signal = ", ".join(f"{count} {name}" for name, count in sorted(outcome.kills.items()))
    print(
        f"seed {options.seed}: {outcome.kills.total()} kills ({by_signal}) in {outcome.runs} runs"
    )
    print(f"{outcome.resumed} starts went on with a run, {len(outcome.failures)} failures")
    print(*outcome.failures, sep="\n")
    return bool(outcome.failures)


if __name__ == "__main__":
    sys.exit(main())
