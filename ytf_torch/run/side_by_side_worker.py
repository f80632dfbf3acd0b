"""A worker process of a comparison, see side_by_side.py.

It reads requests from standard input, one line of JSON each, and ends where that ends. It writes
messages to standard output: phases of progress, records, and the error that ends it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from ytf_torch.run.compared_repair import Subjects

# Seconds between two messages about the progress of a phase: as often as bars are drawn anew.
INTERVAL = 0.1


def main() -> None:
    """Make one repair after another, as requested."""
    messages = Messages(_standard_output())
    requests: SimpleQueue[dict[str, Any]] = SimpleQueue()
    # A thread of its own, so that this process ends at once, in the middle of a repair, if its
    # parent is gone.
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    try:
        from ytf_torch.run.process import set_up_process

        set_up_process()
        import torch

        from ytf_torch.run.compared_repair import Cell

        torch.set_num_threads(1)
        subjects = open_subjects(requests.get())
        while True:
            request = requests.get()
            cell = Cell(**request | {"detectors": tuple(request["detectors"])})
            messages.send("record", subjects.record_of(cell, messages.track))
    except Exception as error:
        from ytf_torch.run.sent_errors import error_record

        messages.send("error", error_record(error))


class Messages:
    """Sends messages, each one line of JSON."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.numbers = stream, count()
        self.units: dict[int, int] = {}
        self.sent = 0.0

    def send(self, kind: str, content: object) -> None:
        """Send a message, and before it the progress that has not been sent yet."""
        messages = [("done", [number, units]) for number, units in self.units.items()]
        self.units.clear()
        for name, value in (*messages, (kind, content)):
            self.stream.write(json.dumps({name: value}) + "\n")
        self.stream.flush()

    def track(self, phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        """See Track."""
        number = next(self.numbers)
        self.send("phase", [number, phase, int(total), unit])
        return partial(self._advance, number)

    def _advance(self, number: int, units: int) -> None:
        self.units[number] = self.units.get(number, 0) + int(units)
        if time.monotonic() - self.sent >= INTERVAL:
            self.sent = time.monotonic()
            self.send("done", [number, self.units.pop(number)])


def open_subjects(job: Mapping[str, Any]) -> Subjects:
    """Open the network and the image sets of a comparison again. job: see side_by_side.job_of.

    Raises InputError where one cannot be read, or is not what the parent has read.
    """
    import torch

    from ytf_torch.network.preprocessing import preprocessing_of_record
    from ytf_torch.run.compared_repair import Subjects
    from ytf_torch.run.inputs import check_same, comparison_record
    from ytf_torch.run.pair import read_network
    from ytf_torch.run.repair_settings import CompareSettings
    from ytf_torch.run.sets import open_sets

    clean_test, clean_control = (
        None if job[name] is None else Path(job[name]) for name in ("clean_test", "clean_control")
    )
    settings = CompareSettings(
        model=Path(job["model"]),
        clean_valid=Path(job["clean_valid"]),
        poisoned_test=tuple(map(Path, job["poisoned_test"])),
        target=job["target"],
        out=Path(job["out"]),
        methods=tuple(job["methods"]),
        seeds=job["seeds"],
        clean_test=clean_test,
        clean_control=clean_control,
    )
    preprocessing = {
        name: preprocessing_of_record(record, name) for name, record in job["preprocessing"].items()
    }
    badnet = read_network(settings.model, preprocessing["model"])
    control = None
    if clean_control is not None:
        control = read_network(clean_control, preprocessing["clean_control"])
    sets = open_sets(
        badnet.model,
        settings.clean_valid,
        settings.clean_test,
        settings.poisoned_test,
        settings.target,
    )
    found = comparison_record(badnet, sets, settings, control, torch.device("cpu"))
    # Relearning is measured by the parent: what that reads besides is none of a worker's inputs.
    expected = {name: job["inputs"][name] for name in found}
    check_same(expected, found, Path(job["model"]), clean_control)
    return Subjects(badnet, control, sets)


def _standard_output() -> TextIO:
    """The stream of messages. What else is printed, by libraries or by other packages' methods,
    goes to standard error."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stream


def _read(requests: SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        requests.put(json.loads(line))
    os._exit(0)
