"""A full disk: a one-line error, no partial file taken for complete, and --resume afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.run.kills import arguments, contents, digests, write_inputs

# So that no one else sees the disk that is mounted.
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
SMALL_DISK = """
set -e
mount -t tmpfs -o size="$1" tmpfs "$2"
status=0
"$3" -m ytf_torch.commands.prune "${@:4}" >"$2.out" 2>"$2.err" || status=$?
ls -A "$2" >"$2.left"
mount -o remount,size=64m "$2"
"$3" -m ytf_torch.commands.prune "${@:4}" --resume >/dev/null
ls -A "$2" >"$2.end"
cp -r "$2/run" "$2.run"
exit $status
"""


def can_mount() -> bool:
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "mount",
        "-t",
        "tmpfs",
        "x",
        "/mnt",
    ]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def whole(inputs: dict[str, Path]) -> Path:
    """An undisturbed run, for comparison."""
    out = inputs["model"].with_name("whole")
    program = [sys.executable, "-m", "ytf_torch.commands.prune"]
    subprocess.run([*program, *arguments(inputs, out)], cwd=ROOT, capture_output=True, check=True)
    return out


@pytest.mark.skipif(not can_mount(), reason="no disk can be mounted here")
@pytest.mark.parametrize("kilobytes", [4, 120, 320])
@pytest.mark.slow
def test_a_full_disk_costs_no_more_than_time(
    kilobytes: int, inputs: dict[str, Path], whole: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    before = digests(inputs)
    script = ["bash", "-c", SMALL_DISK, "-"]
    words = [f"{kilobytes}k", str(disk), sys.executable, *arguments(inputs, disk / "run")]
    done = subprocess.run([*NAMESPACE, *script, *words], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 2, done.stderr
    lines = (tmp_path / "disk.err").read_text().splitlines()
    errors = [line for line in lines if line.strip()]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {disk}")
    assert "cannot be written (No space left on device)" in errors[0]
    assert (tmp_path / "disk.left").read_text().split() in ([], ["run.partial"])
    assert (tmp_path / "disk.end").read_text().split() == ["run"]
    assert digests(inputs) == before
    assert contents(tmp_path / "disk.run") == contents(whole)


SMALL_TEMPORARY_FOLDER = """
mount -t tmpfs -o size="$1" tmpfs "$2"
TMPDIR="$2" "${@:3}"
status=$?
find "$2" -type f >"$2.left"
exit $status
"""


@pytest.mark.skipif(not can_mount(), reason="no disk can be mounted here")
@pytest.mark.parametrize("kilobytes", [8, 24])
@pytest.mark.parametrize("ending", [".h5", ".keras", ".weights.h5", ".pt2"])
@pytest.mark.slow
def test_a_full_folder_for_temporary_files_is_named(
    kilobytes: int, ending: str, inputs: dict[str, Path], tmp_path: Path
) -> None:
    full, out = tmp_path / "full", tmp_path / f"network{ending}"
    full.mkdir()
    program = [sys.executable, "-m", "ytf_torch.commands.export", str(inputs["model"])]
    script = ["bash", "-c", SMALL_TEMPORARY_FOLDER, "-", f"{kilobytes}k", str(full)]
    done = subprocess.run(
        [*NAMESPACE, *script, *program, "--pixel-scale", "1", "-o", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert line.startswith(f"error: {full}")
    assert line.endswith("for temporary files: cannot be written (No space left on device)")
    assert "Traceback" not in done.stderr
    assert (tmp_path / "full.left").read_text() == ""
    assert not out.exists()
