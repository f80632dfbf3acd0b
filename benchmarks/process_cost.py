"""Wall time and peak memory of a command: `python -m benchmarks.process_cost COMMAND…`.

A process of its own, because Linux counts the memory of whoever starts a command to its peak.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessCost:
    """seconds: wall time from start to exit. peak_bytes: largest resident memory."""

    seconds: float
    peak_bytes: int


def process_cost(command: Sequence[str]) -> ProcessCost:
    """Run a command to its end; what it prints is dropped. Raises RuntimeError if it fails."""
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


def main() -> None:
    start = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(1)
    print(json.dumps({"seconds": seconds, "peak_bytes": usage.ru_maxrss * 1024}))


if __name__ == "__main__":
    main()
