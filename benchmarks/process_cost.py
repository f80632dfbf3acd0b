"""Wall time and peak memory of a command and its child processes:
`python -m benchmarks.process_cost COMMAND…`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# Sampling interval in seconds. Sampling costs the measured process some milliseconds.
LOOK_EVERY = 0.2


@dataclass(frozen=True)
class ProcessCost:
    """Cost of a command.

    seconds: wall time from start to exit. processor_seconds: CPU time of all its processes.
    peak_bytes: peak of their total memory, shared pages counted once; 0 on systems other than
    Linux.
    """

    seconds: float
    processor_seconds: float
    peak_bytes: int


def process_cost(command: Sequence[str]) -> ProcessCost:
    """Run a command and discard its output. Raises RuntimeError if it fails."""
    measured = subprocess.run(
        [sys.executable, "-m", "benchmarks.process_cost", *command],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if measured.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {measured.stderr.strip()[-500:]}")
    return ProcessCost(**json.loads(measured.stdout))


def watched(process: subprocess.Popen[bytes], each_time: Callable[[], None]) -> ProcessCost:
    """Cost of a process that has just been started. each_time: called about a hundred times a
    second.

    Raises RuntimeError where it ends with a status other than 0 or SIGKILL.
    """
    start = sampled = time.perf_counter()
    peak = 0
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        if time.perf_counter() > sampled + LOOK_EVERY:
            sampled, peak = time.perf_counter(), max(peak, memory_of(process.pid))
        each_time()
        time.sleep(0.01)
    if status not in (0, signal.SIGKILL):
        raise RuntimeError(f"{process.args!r} ended with status {status}")
    seconds = time.perf_counter() - start
    return ProcessCost(seconds, usage.ru_utime + usage.ru_stime, peak)


def memory_of(pid: int) -> int:
    """Memory in bytes of a process and its child processes, from Linux's /proc; 0 elsewhere.

    Counts Pss, in which each shared page is divided among the processes that share it.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        tasks = [task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has ended
        return 0
    own = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return own + sum(memory_of(int(child)) for task in tasks for child in task.split())


def main() -> None:
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    print(json.dumps(asdict(watched(process, lambda: None))))


if __name__ == "__main__":
    main()
