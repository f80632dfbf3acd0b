"""Runs the repairs of a comparison in several processes at the same time.

Each worker process (see side_by_side_worker.py) opens the network and the image sets itself, makes
one repair after another with one thread, and sends their records. Only this process writes files.

The number of threads is part of the result: two threads add up the parts of a sum in another order
than one, and rounding differs. So a comparison that can run in several processes always makes each
repair with one thread, even if this process makes all of them: its results depend neither on the
number of cores nor on where an interrupted comparison is resumed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from ytf_torch.device import resolve_device
from ytf_torch.disk.interpreter import python_command, signals_blocked
from ytf_torch.errors import InputError, WorkerFaultError
from ytf_torch.progress import Track, branch, titled
from ytf_torch.report.compare.comparison import Record
from ytf_torch.run.compared_repair import OUT_OF_MEMORY, Cell, Subjects
from ytf_torch.run.repair_settings import CompareSettings
from ytf_torch.run.sent_errors import error_of

# The first line of standard input is Python's path, on which this package and those of other
# methods are found; it must be known before anything is imported.
PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.readline()); "
    "from ytf_torch.run.side_by_side_worker import main; main()"
)
# Terminals, batch systems and service managers send them to all processes: the parent handles them.
FOR_THE_PARENT = ("SIGINT", "SIGTERM", "SIGHUP")
# Grace period, in seconds, between the end of a worker and the end of its output.
EXIT_TIMEOUT = 5

Message = Mapping[str, Any]


def repairs_at_once(settings: CompareSettings) -> int:
    """How many repairs of a comparison run at the same time: one for each core that PyTorch may use
    (its number of threads), where they can run in several processes."""
    if not _may_be_divided(settings):
        return 1
    return min(torch.get_num_threads(), settings.number_of_repairs)


@contextmanager
def threads_of_a_repair(settings: CompareSettings) -> Iterator[None]:
    """Set PyTorch's number of threads, within this context, to that of a repair."""
    before = torch.get_num_threads()
    if _may_be_divided(settings):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _may_be_divided(settings: CompareSettings) -> bool:
    """Whether other processes can make the repairs: there are several, all methods have a name, all
    inputs are files, and they run on the CPU. Several processes would only share a GPU."""
    inputs = (settings.model, settings.clean_valid, *settings.poisoned_test)
    optional = (settings.clean_test, settings.clean_control)
    return (
        settings.number_of_repairs > 1
        and all(isinstance(method, str) for method in settings.methods)
        and all(isinstance(path, Path) for path in inputs)
        and all(path is None or isinstance(path, Path) for path in optional)
        and resolve_device(settings.device).type == "cpu"
    )


def job_of(
    settings: CompareSettings, subjects: Subjects, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """What a worker needs to open the network and the image sets, as JSON.

    inputs: the comparison's, see inputs.comparison_record. The worker's have to be equal.
    """
    networks = {"model": subjects.badnet, "clean_control": subjects.control}
    optional = (settings.clean_test, settings.clean_control)
    clean_test, clean_control = (None if path is None else str(path) for path in optional)
    return {
        "model": str(settings.model),
        "clean_valid": str(settings.clean_valid),
        "clean_test": clean_test,
        "poisoned_test": list(map(str, settings.poisoned_test)),
        "target": settings.target,
        "clean_control": clean_control,
        "out": str(settings.out),
        "methods": list(settings.methods),
        "seeds": settings.seeds,
        "preprocessing": {
            name: network.provenance.preprocessing.record
            for name, network in networks.items()
            if network is not None
        },
        "inputs": inputs,
    }


def side_by_side(
    next_cell: Callable[[], Cell | None], job: Mapping[str, Any], at_once: int, track: Track
) -> Generator[tuple[Cell, Record], None, None]:
    """Make repairs in up to `at_once` worker processes, until `next_cell` returns None and none is
    running; yields each with its record, as they finish.

    Raises the error of a worker, and InputError if a worker is killed; then the others are ended.
    """
    messages: SimpleQueue[tuple[_Worker, Message | None]] = SimpleQueue()
    working: list[_Worker] = []
    idle: list[_Worker] = []
    # Where memory ran out while several repairs shared it, there may be enough for one alone.
    postponed: list[Cell] = []
    try:
        while True:
            while len(working) < at_once and (cell := next_cell()) is not None:
                working.append(idle.pop() if idle else _Worker(job, messages))
                working[-1].begin(cell, track)
            while idle:  # there is nothing left for it to do: its memory helps the others
                idle.pop().end()
            if not working and postponed:
                working.append(_Worker(job, messages))
                working[-1].begin(postponed.pop(0), track)
            if not working:
                return
            worker, message = messages.get()
            if worker not in working:  # the end of a worker that was ended on purpose
                continue
            record = worker.receive(message)
            if record is None:
                continue
            cell = worker.finished()
            working.remove(worker)
            idle.append(worker)
            if working and record.get("failed") == OUT_OF_MEMORY:
                postponed.append(cell)
            else:
                yield cell, record
    finally:
        for worker in (*working, *idle):
            worker.end()


class _Worker:
    """A process that makes one repair at a time.

    It ends when its standard input is closed. So it does not outlive this process, however that
    ends.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        messages: SimpleQueue[tuple[_Worker, Message | None]],
    ) -> None:
        self.messages = messages
        self.cell: Cell | None = None
        self.bars = ExitStack()
        self.phases: dict[int, Callable[[int], None]] = {}
        python, extra_environment = python_command()
        with signals_blocked(*FOR_THE_PARENT):
            self.process = subprocess.Popen(
                [python, "-P", "-c", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | extra_environment,
            )
            # A signal that another thread than the main one received would not wake that one up.
            self.reader = threading.Thread(target=self._read, name="worker", daemon=True)
            self.reader.start()
        self._send(list(map(str, sys.path)))
        self._send(job)

    def begin(self, cell: Cell, track: Track) -> None:
        """Start a repair. track: shows its progress, in a branch of its own."""
        self.cell = cell
        self.track = titled(self.bars.enter_context(branch(track)), cell.title)
        self._send(
            {
                "name": cell.name,
                "method": cell.method,
                "seed": cell.seed,
                "detectors": cell.detectors,
                "on_control": cell.on_control,
            }
        )

    def receive(self, message: Message | None) -> Record | None:
        """Handle a message; returns the record of the repair if it is finished.

        message: None if the process has closed its output. Raises the worker's error.
        """
        if message is None:
            raise self._ended()
        if "error" in message:
            raise error_of(message["error"])
        if "phase" in message:
            number, phase, total, unit = message["phase"]
            self.phases[number] = self.track(phase, total, unit)
        if "done" in message:
            number, units = message["done"]
            self.phases[number](units)
        record: Record | None = message.get("record")
        return record

    def finished(self) -> Cell:
        """Remove the bars of the repair, which has ended; returns it."""
        self.bars.close()
        self.phases.clear()
        cell, self.cell = self.cell, None
        assert cell is not None
        return cell

    def end(self) -> None:
        """Kill the process, and close what belongs to it."""
        self.bars.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(OSError):  # of requests that it did not read
            self.process.stdin.close()
        # Until its output ends. A process that another package's method has started may still hold
        # it open: then it is left to the thread, which does not keep this process alive.
        self.reader.join(EXIT_TIMEOUT)
        if not self.reader.is_alive():
            self.process.stdout.close()

    def _send(self, request: object) -> None:
        assert self.process.stdin is not None
        # If the process is gone, the end of its output says so.
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with suppress(ValueError):  # cut short, as the process was killed
                self.messages.put((self, json.loads(line)))
        self.messages.put((self, None))

    def _ended(self) -> Exception:
        """The error for a worker that ended without being told to."""
        status = self.process.wait()
        assert self.cell is not None
        if status >= 0:
            return WorkerFaultError(f"a worker ended with status {status}", self.cell.title)
        problem = f"the process that made this repair was killed ({signal.Signals(-status).name})"
        remedy = (
            "The system may have run out of memory: free some, or set OMP_NUM_THREADS to the "
            "number of repairs that fit"
        )
        return InputError(self.cell.title, problem, remedy)
