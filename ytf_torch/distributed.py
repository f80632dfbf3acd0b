"""Distributed runs: torchrun starts several processes, and each processes a share of the images.

Counts are gathered from all processes and added up by each, so that all continue with the same
results. In a run of one process these functions do nothing and do not import PyTorch: a command
must report wrong flags at once, without the seconds that the import takes.
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

# How long processes wait for each other in a collective operation. The slowest may first have to
# read its share from a slow disk. A process that died is noticed much earlier.
TIMEOUT = timedelta(minutes=30)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Place:
    """The position of a process in a run: its rank, 0…processes-1."""

    rank: int = 0
    processes: int = 1

    def share(self, units: int) -> range:
        """This process's share of `units` units of work: consecutive ones; shares differ by at most
        one unit.

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
    """Initialise the process group of this run, with the backend of `device` (nccl on cuda, gloo on
    cpu), and destroy it when the block ends. Does nothing unless torchrun started this process.

    Raises ProcessLostError if another process ends early, at the latest when values are gathered.
    """
    if not launched():
        yield
        return
    import torch
    import torch.distributed as dist

    store, rank, processes = _rendezvous()
    # torchrun sends SIGTERM to the others when one process has ended.
    previous_handler = signal.signal(signal.SIGTERM, _raise_ended)
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
            # Not after an error: destroying the group could wait for a process that is gone.
            dist.destroy_process_group()
        finally:
            signal.signal(signal.SIGTERM, previous_handler)


def launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def local_rank() -> int:
    """The rank of this process among those of this machine, from 0."""
    return int(os.environ["LOCAL_RANK"])


def own_place() -> Place:
    """The place of this process in the run."""
    return Place(*_rendezvous()[1:]) if launched() else Place()


def is_first() -> bool:
    """Whether this process is the one that writes, prints and shows progress."""
    return own_place().rank == 0


def is_first_to_report() -> bool:
    """True for only one process of the run, the first that asks: it reports why the run ended."""
    if not launched():
        return True
    try:
        return _rendezvous()[0].add("reported", 1) == 1  # an atomic counter
    except RuntimeError:  # the machine that hosts the store is gone
        return True


def gathered(value: Value) -> list[Value]:
    """The values of all processes, in the order of their ranks. A collective operation: all
    processes must call it at the same point."""
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
    """Propagate errors: if the block raises an InputError in one process, all processes raise it.

    Otherwise the others would wait for the failed one until TIMEOUT.
    """
    failure: InputError | None = None
    try:
        yield
    except InputError as error:
        failure = error
    for failed in gathered(failure):
        if failed is not None:
            raise failed


def check_same(what: str, value: object) -> None:
    """Raises InputError in every process unless `value` is the same in all of them."""
    if any(other != value for other in gathered(value)):
        raise InputError(
            what, "not the same on all processes", "Give every machine the same files and settings"
        )


@cache
def _rendezvous() -> tuple[Store, int, int]:
    """The store that the processes share, this process's rank, and the number of processes."""
    from torch.distributed.rendezvous import rendezvous

    store, rank, processes = next(rendezvous("env://"))
    return store, rank, processes


def _raise_ended(signum: int, frame: FrameType | None) -> NoReturn:
    raise _lost("one of its processes ended early, or the whole run was ended")
