"""Repairs of another package, which tests install: what happens while a comparison runs.

They are told what to do, and tell what they did, by files in the folder COMPARED. Each is a repair
by name, for worker processes to find.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import torch

from tests.made.other_package import write_package
from ytf_torch.defences.base import Candidate
from ytf_torch.defences.repairs.fine_tuning import FineTuning
from ytf_torch.errors import CannotRepairError, InputError
from ytf_torch.images.image_set import ImageSet
from ytf_torch.network.module import Network
from ytf_torch.progress import Track

TIMEOUT = 120


def folder() -> Path:
    return Path(os.environ["COMPARED"])


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def stored(name: str) -> Callable[[], bool]:
    """Whether the first repair of a method is stored."""
    return (folder() / "out.partial" / f"{name}-0.json").exists


class Unchanged:
    """Returns B as it is, after `prepare`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def prepare(self, clean_valid: ImageSet, track: Track) -> None:
        pass

    def candidates(
        self, network: Network, clean_valid: ImageSet, track: Track
    ) -> Iterator[Candidate]:
        self.prepare(clean_valid, track)
        yield Candidate("unchanged", network, ("left as it was",))


class Digest(Unchanged):
    """Fine-tunes B. The history holds a digest of the weights, and the number of threads."""

    def candidates(
        self, network: Network, clean_valid: ImageSet, track: Track
    ) -> Iterator[Candidate]:
        print("printed by a repair")
        tuning = FineTuning(seed=self.seed, epochs=2)
        for candidate in tuning.candidates(network, clean_valid, track):
            digest = sha256()
            for weights in candidate.network.state_dict().values():
                digest.update(weights.contiguous().numpy().tobytes())
            steps = (f"weights {digest.hexdigest()}", f"{torch.get_num_threads()} threads")
            yield Candidate(candidate.name, candidate.network, steps)


class Meeting(Unchanged):
    """Ends when two processes are at work, and names them in files."""

    def prepare(self, clean_valid: ImageSet, track: Track) -> None:
        done = track("meeting", 3, "processes")
        (folder() / f"met-{os.getpid()}").touch()
        wait_for(lambda: len(list(folder().glob("met-*"))) == 2)
        done(2)
        time.sleep(1)  # long enough for the bar to be drawn


class Killed(Unchanged):
    """Is killed when the record of kernel-norm is stored, unless there is a file `spared`."""

    def prepare(self, clean_valid: ImageSet, track: Track) -> None:
        if not (folder() / "spared").exists():
            wait_for(stored("kernel-norm"))
            os.kill(os.getpid(), signal.SIGKILL)


class Waiting(Unchanged):
    """Names its process in a file, and takes forever unless there is a file `go-on`."""

    def prepare(self, clean_valid: ImageSet, track: Track) -> None:
        (folder() / f"waiting-{self.seed}-{os.getpid()}").touch()
        while not (folder() / "go-on").exists():
            time.sleep(0.02)


class LateFailure(Unchanged):
    """Fails; where there is a file `late`, only when the record of kernel-norm is stored."""

    def prepare(self, clean_valid: ImageSet, track: Track) -> None:
        if (folder() / "late").exists():
            wait_for(stored("kernel-norm"))
        raise CannotRepairError(clean_valid.path, "nothing to offer")


class Hungry(Unchanged):
    """Has enough memory only when Patient has ended."""

    def prepare(self, clean_valid: ImageSet, track: Track) -> None:
        (folder() / "tried").touch()
        if not stored("patient")():
            raise MemoryError


class Patient(Unchanged):
    """Ends when Hungry has been tried."""

    def prepare(self, clean_valid: ImageSet, track: Track) -> None:
        wait_for((folder() / "tried").exists)


class Raises(Unchanged):
    """Raises the error that a file `error` names."""

    def prepare(self, clean_valid: ImageSet, track: Track) -> None:
        raise {
            "InputError": InputError(clean_valid.path, "cannot be read (gone)", "Look for it"),
            "MemoryError": MemoryError(),
            "ValueError": ValueError("no such value"),
        }[(folder() / "error").read_text()]


ENTRY_POINTS = {
    "digest": Digest,
    "meeting": Meeting,
    "killed": Killed,
    "waiting": Waiting,
    "late-failure": LateFailure,
    "hungry": Hungry,
    "patient": Patient,
    "raises": Raises,
}


def install(site: Path) -> Path:
    """Write the package that has these repairs as entry points; returns the folder that has to be
    on Python's path, next to that of `tests`."""
    points = {name: f"{__name__}:{repair.__name__}" for name, repair in ENTRY_POINTS.items()}
    return write_package(site, "others", {"ytf_torch.repairs": points})
