"""Every error and signal gives one line on standard error and its own exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import typer

from tests.conftest import ROOT
from ytf_torch.commands.endings import STOPPING, one_line_errors
from ytf_torch.errors import InputError, OutputError, ProcessLostError

ENDINGS = [
    (InputError("a.h5", "no such file"), 2, "error: a.h5: no such file\n"),
    (OutputError("OUT", "cannot be written"), 2, "error: OUT: cannot be written\n"),
    (ProcessLostError("the run was stopped"), 1, "error: the run was stopped\n"),
    (MemoryError(), 2, "error: there is not enough memory for this\n"),
    (
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        2,
        "error: there is not enough memory for this\n",
    ),
    (RecursionError("maximum"), 2, "error: something that was given is nested too deeply"),
    (PermissionError(13, "Permission denied", "a/b"), 2, "error: a/b: Permission denied\n"),
    (OSError(28, "No space left on device"), 2, "error: No space left on device\n"),
    (BrokenPipeError(32, "Broken pipe"), 141, ""),
    (KeyboardInterrupt(), 130, "error: stopped by SIGINT. Go on with --resume\n"),
    (typer.Exit(3), 3, ""),
    (typer.BadParameter("no\nsuch flag"), 2, "error: Invalid value: no\\nsuch flag"),
    (EOFError("end\nof file"), 70, "error: a fault of ytf-torch, please report it: EOFError: end"),
]


@pytest.mark.parametrize(
    ("error", "status", "line"), ENDINGS, ids=[type(error).__name__ for error, *_ in ENDINGS]
)
def test_an_error_ends_a_command_in_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, line: str
) -> None:
    with pytest.raises(SystemExit) as end, one_line_errors("Go on with --resume"):
        raise error
    assert end.value.code == status
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == bool(line)


def test_a_fault_of_ours_tells_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), one_line_errors():
        raise KeyError("missing")
    assert "KeyError: 'missing' (test_endings.py:" in capsys.readouterr().err


needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@needs_signals
@pytest.mark.parametrize("number", STOPPING)
class TestSignals:
    def test_a_signal_ends_a_command_in_one_line(
        self, capsys: pytest.CaptureFixture[str], number: signal.Signals
    ) -> None:
        with pytest.raises(SystemExit) as end, one_line_errors("Go on with --resume"):
            os.kill(os.getpid(), number)
            time.sleep(5)
        assert end.value.code == 128 + number
        assert capsys.readouterr().err == f"error: stopped by {number.name}. Go on with --resume\n"

    def test_what_a_library_makes_of_it_changes_nothing(
        self, capsys: pytest.CaptureFixture[str], number: signal.Signals
    ) -> None:
        with pytest.raises(SystemExit) as end, one_line_errors():
            try:
                os.kill(os.getpid(), number)
                time.sleep(5)
            except BaseException as error:
                raise ImportError("initialization failed") from error
        assert end.value.code == 128 + number
        assert capsys.readouterr().err == f"error: stopped by {number.name}\n"

    def test_it_is_not_lost_where_nothing_can_be_raised(
        self, capsys: pytest.CaptureFixture[str], number: signal.Signals
    ) -> None:
        class Freed:
            def __del__(self) -> None:
                os.kill(os.getpid(), number)
                time.sleep(0.1)

        with pytest.raises(SystemExit) as end, one_line_errors():
            Freed()
            time.sleep(5)
        assert end.value.code == 128 + number
        assert capsys.readouterr().err == f"error: stopped by {number.name}\n"

    def test_no_exception_is_raised_while_pytorch_loads(
        self, tmp_path: Path, number: signal.Signals
    ) -> None:
        """In the initialization of its C++ part an exception would abort the process."""
        (tmp_path / "torch.py").write_text("import part_of_torch\n")
        (tmp_path / "part_of_torch.py").write_text(
            f"import os\ntry:\n    os.kill(os.getpid(), {number.value})\n    sum(range(1000))\n"
            "except BaseException:\n    os.abort()\n"
        )
        code = (
            "from ytf_torch.commands.endings import one_line_errors\n"
            "with one_line_errors('Go on with --resume'):\n    import torch"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        )
        assert done.returncode == 128 + number
        assert done.stderr == f"error: stopped by {number.name}\n"

    @pytest.mark.parametrize("launcher", ["", "TORCHELASTIC_RUN_ID"])
    def test_a_process_of_torchrun_that_ends_at_once_leaves_the_line_to_the_others(
        self, launcher: str, number: signal.Signals
    ) -> None:
        code = (
            "import os\n"
            "from ytf_torch.commands.endings import end_at_once, handle\n"
            "handle(end_at_once)\n"
            f"os.kill(os.getpid(), {number.value})\nsum(range(1000))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)} | ({launcher: "1"} if launcher else {}),
        )
        assert done.returncode == 128 + number
        assert done.stderr == ("" if launcher else f"error: stopped by {number.name}\n")

    def test_handlers_are_as_before_afterwards(self, number: signal.Signals) -> None:
        before = signal.getsignal(number)
        with one_line_errors():
            assert signal.getsignal(number) is not before
        assert signal.getsignal(number) is before

    def test_what_is_ignored_stays_ignored(self, number: signal.Signals) -> None:
        before = signal.signal(number, signal.SIG_IGN)
        try:
            with one_line_errors():
                os.kill(os.getpid(), number)
        finally:
            signal.signal(number, before)


def test_another_thread_has_no_signals_to_handle() -> None:
    statuses: list[object] = []

    def run() -> None:
        try:
            with one_line_errors():
                raise InputError("a.h5", "no such file")
        except SystemExit as end:
            statuses.append(end.code)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert statuses == [2]
