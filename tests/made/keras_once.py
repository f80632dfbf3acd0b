"""Real Keras imported once for many files, each of which is still run in a process of its own.

Importing TensorFlow takes four seconds, most of a comparison with Keras. Here a process that has
only imported a Keras library forks for each request, and the fork runs the program that
`keras_process.run_program` starts otherwise.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from tests.made.real_keras import real_keras
from ytf_torch.convert.keras.keras_process import ENVIRONMENT, SECONDS

KERAS_PROGRAM = "ytf_torch.convert.keras.keras_process"


class KerasOnce:
    """The processes that fork, by the library that they have imported."""

    def __init__(self) -> None:
        self.started: dict[str, subprocess.Popen[str]] = {}

    def run_program(self, library: str, *paths: Path) -> subprocess.CompletedProcess[str]:
        """See keras_process.run_program. paths: of the file, the request and the answer."""
        if library not in self.started:
            self.started[library] = self._start(library)
        process = self.started[library]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([library, *map(str, paths)]) + "\n")
        process.stdin.flush()
        status, message = json.loads(process.stdout.readline())
        return subprocess.CompletedProcess([library, *paths], status, "", message)

    def _start(self, library: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", __name__, library],
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def end(self) -> None:
        for process in self.started.values():
            process.communicate()  # closes its input, which ends it


def run_in_a_fork(arguments: list[str]) -> tuple[int, str]:
    """Exit status and error output of Keras's program with these arguments."""
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            signal.alarm(SECONDS)  # the limit of a process of its own
            try:
                sys.argv[1:] = arguments
                runpy.run_module(KERAS_PROGRAM, run_name="__main__")
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)  # TensorFlow's own end takes longer than most answers
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        return status, output.read()


def main() -> None:
    """Answer one request for each line of standard input."""
    real_keras(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(run_in_a_fork(json.loads(line))), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
