"""Several processes share one run: torchrun starts them, each takes a share of the images.

What is summed over images is gathered here and added by every process, so that all of them go on
with the same figures. In a run of one process nothing here does anything, nor is PyTorch loaded:
a command has to say at once what is wrong with its flags.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TypeVar

from ytf_torch.errors import InputError, ProcessLostError, argument

if TYPE_CHECKING:
    import torch
    from torch.distributed.distributed_c10d import Store

# How long the processes wait for each other where figures are put together. The slowest may have
# to read its share from a slow disk first; a process that died is noticed much earlier.
TIMEOUT = timedelta(minutes=30)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Place:
    """Which of a run's processes one is: rank of 0…processes-1."""

    rank: int = 0
    processes: int = 1

    def share(self, units: int) -> range:
        """This process's part of so many units of work: consecutive ones, as many as the other
        processes have or one more or less.

        >>> [Place(rank, 3).share(10) for rank in range(3)]
        [range(0, 3), range(3, 6), range(6, 10)]
        """
        start, stop = (units * rank // self.processes for rank in (self.rank, self.rank + 1))
        return range(start, stop)


def _lost(problem: str) -> ProcessLostError:
    remedy = f"Start it again with {argument('resume')}"
    return ProcessLostError(f"the run was stopped: {problem}. {remedy}")


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """The processes of this run work together in this block, over `device`'s own backend (nccl on
    cuda, gloo on cpu).

    Raises ProcessLostError, at the latest where values are gathered, if one of them ends early.
    """
    if not launched():
        yield
        return
    import torch
    import torch.distributed as dist

    store, rank, processes = _rendezvous()
    ended_by = signal.signal(signal.SIGTERM, _raise_ended)
    with torch.accelerator.device_index(device.index):
        try:
            dist.init_process_group(
                dist.get_default_backend_for_device(device),
                store=store,
                rank=rank,
                world_size=processes,
                timeout=TIMEOUT,
            )
            yield
            # Not after an error: a process that is gone cannot take leave.
            dist.destroy_process_group()
        finally:
            signal.signal(signal.SIGTERM, ended_by)


def launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def local_rank() -> int:
    """Which of this machine's processes this is, 0 the first."""
    return int(os.environ["LOCAL_RANK"])


def own_place() -> Place:
    """Which of the run's processes this is."""
    return Place(*_rendezvous()[1:]) if launched() else Place()


def is_first() -> bool:
    """Whether this is the process that writes, prints and shows progress."""
    return own_place().rank == 0


def is_first_to_report() -> bool:
    """True for one process of the run only: the first that wants to tell why the run ended."""
    if not launched():
        return True
    try:
        return _rendezvous()[0].add("reported", 1) == 1
    except RuntimeError:  # the machine that keeps the store is gone
        return True


def gathered(value: Value) -> list[Value]:
    """What each process has, in an order all agree on. All processes must ask at the same place."""
    if not launched():
        return [value]
    import torch.distributed as dist

    values: list[Value | None] = [None] * dist.get_world_size()
    try:
        dist.all_gather_object(values, value)
    except RuntimeError as error:
        raise _lost("one of its processes ended early or did not answer") from error
    return values  # type: ignore[return-value]


@contextmanager
def together() -> Iterator[None]:
    """If this block fails by an InputError on one process, it does on all: they raise the same."""
    failure: InputError | None = None
    try:
        yield
    except InputError as error:
        failure = error
    for failed in gathered(failure):
        if failed is not None:
            raise failed


def check_same(what: str, value: object) -> None:
    """Raises InputError on every process where `value` is not the same on all of them."""
    if any(other != value for other in gathered(value)):
        raise InputError(
            what, "not the same on all processes", "Give every machine the same files and settings"
        )


@cache
def _rendezvous() -> tuple[Store, int, int]:
    """Where processes leave messages, this one's rank, and how many there are."""
    from torch.distributed.rendezvous import rendezvous

    store, rank, processes = next(rendezvous("env://"))
    return store, rank, processes


def _raise_ended(signum: int, frame: FrameType | None) -> NoReturn:
    raise _lost("one of its processes ended early, or the whole run was ended")
