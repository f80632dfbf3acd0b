"""Finding a Python executable when this process is a program that embeds Python."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ytf_torch.disk.interpreter import python_command
from ytf_torch.errors import InputError


def test_a_plain_python_starts_itself() -> None:
    assert python_command() == (sys.executable, {})


@pytest.mark.parametrize(
    "embedding_program", ["/bin/true", "", None, "/nowhere/uwsgi", "/nowhere/python3"]
)
def test_in_a_program_that_embeds_python_its_environments_python_is_found(
    monkeypatch: pytest.MonkeyPatch, embedding_program: str | None
) -> None:
    monkeypatch.setattr(sys, "executable", embedding_program)
    found, variables = python_command()
    printed = subprocess.check_output(
        [found, "-P", "-c", "import sys, h5py; print(*sys.version_info[:2])"],
        env=os.environ | variables,
        text=True,
    )
    assert printed.split() == [str(part) for part in sys.version_info[:2]]


def test_without_a_python_the_error_names_sys_executable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("prefix", "exec_prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, str(tmp_path))
    monkeypatch.delattr(sys, "_base_executable", raising=False)
    monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")
    with pytest.raises(InputError, match=r"^sys.executable: expected a Python.*/usr/bin/uwsgi"):
        python_command()
