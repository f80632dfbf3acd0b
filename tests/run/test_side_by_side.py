"""Comparisons whose repairs run in several processes at the same time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

import ytf_torch
from tests.commands.test_start import program
from tests.conftest import ROOT
from tests.made.badnet import made_badnet
from tests.made.repairs_of_others import install, wait_for
from ytf_torch.commands.compare import app
from ytf_torch.defences.names import DETECTORS
from ytf_torch.defences.rankings.kernel_norm import KernelNorm
from ytf_torch.errors import InputError
from ytf_torch.images.arrays import images_of
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ytf_torch.run.compared_repair import Subjects
from ytf_torch.run.inputs import check_same, comparison_record
from ytf_torch.run.repair import open_repair
from ytf_torch.run.repair_settings import CompareSettings
from ytf_torch.run.side_by_side import job_of, repairs_at_once, threads_of_a_repair
from ytf_torch.run.side_by_side_worker import open_subjects

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX's signals")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def usual_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A network and image sets; the repairs of tests/made/repairs_of_others.py are installed."""
    monkeypatch.setenv("COMPARED", str(tmp_path))
    monkeypatch.syspath_prepend(install(tmp_path / "site"))
    return made_badnet().files(tmp_path, images=50)


def arguments(files: dict[str, Path], out: Path, methods: str, *more: str) -> list[str]:
    named = [str(word) for pair in files.items() for word in pair]
    return [*named, "--out", str(out), "--device", "cpu", "--methods", methods, *more]


def compare(files: dict[str, Path], out: Path, methods: str, *more: str, cores: int = 2) -> Result:
    torch.set_num_threads(cores)
    done = CliRunner().invoke(app, arguments(files, out, methods, *more))
    assert torch.get_num_threads() == cores
    return done


def without_times(file: Path) -> str:
    """The text of a result, without the seconds that each repair took."""
    text = file.read_text()
    if file.suffix == ".csv":
        return "\n".join(line.rpartition(",")[0] for line in text.splitlines())
    return re.sub(r'"(seconds|started|finished)": [^,\n]*', r'"\1": 0', text)


def is_running(process: int) -> bool:
    """Whether a process still computes; one that is dead may remain as a zombie."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_results_are_those_of_one_process_bit_for_bit(
    files: dict[str, Path], tmp_path: Path
) -> None:
    """The digests of the repaired weights are part of the records."""
    control = tmp_path / "control.safetensors"
    provenance = load_checkpoint(files["--model"]).provenance
    save_checkpoint(Checkpoint(made_badnet().sound, provenance), control)
    more = ("--seeds", "2", "--clean-control", str(control))
    for name, cores in (("side by side", 2), ("alone", 1)):
        done = compare(files, tmp_path / name, "digest,kernel-norm", *more, cores=cores)
        assert done.exit_code == 0, done.output
        said = "6 repairs, 2 at a time: a" if cores == 2 else "6 repairs: a"
        assert done.stdout.startswith(said)
    both = [tmp_path / name for name in ("side by side", "alone")]
    for file in ("comparison.json", "comparison.csv", "run.json"):
        first, second = (without_times(folder / file) for folder in both)
        assert first == second
    record = json.loads((both[0] / "comparison.json").read_text())
    tuned = [one for one in record["repairs"] if one["method"] == "digest"]
    assert [one["seed"] for one in tuned] == [0, 1]
    assert [one["history"][1] for one in tuned] == ["1 threads", "1 threads"]
    assert tuned[0]["history"][0] != tuned[1]["history"][0]
    assert record["clean_control"]["digest"]["history"][0].startswith("weights ")
    assert [set(one["detectors"]) for one in record["repairs"]] == [set(DETECTORS), *[set()] * 3]
    names = sorted(path.name for path in both[0].iterdir())
    assert names == ["comparison.csv", "comparison.json", "report.html", "run.json"]


@pytest.mark.slow
def test_two_repairs_run_at_the_same_time_in_processes_of_their_own(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress has a bar for all repairs, and one for each that is running."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # standard error is a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    done = compare(files, tmp_path / "out", "meeting", "--seeds", "2")
    assert done.exit_code == 0
    processes = {int(path.name.removeprefix("met-")) for path in tmp_path.glob("met-*")}
    assert len(processes - {os.getpid()}) == 2
    assert not any(map(is_running, processes))
    drawn = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", " ", done.stderr).split())
    whole, left = r"repairs \W+ 0/2 repairs", r"\S+ left \S+"
    running = r"meeting, seed (\d): meeting \W+ 2/3 processes"
    seeds = re.findall(rf"{whole} {left} {running} {left} {running}", drawn)
    assert {"0", "1"} in map(set, seeds)


@posix
@pytest.mark.slow
def test_a_killed_worker_is_one_line_and_finished_repairs_stay(
    files: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = compare(files, out, "killed,kernel-norm")
    assert done.exit_code == 2
    (line,) = (line for line in done.stderr.splitlines() if not line.startswith("warning: "))
    assert line.startswith(
        "error: killed, seed 0: the process that made this repair was killed (SIGKILL). The system "
        "may have run out of memory: free some, or set OMP_NUM_THREADS to the number of repairs "
        f"that fit. Finished pieces stay in {out}.partial: "
    )
    stored = tmp_path / "out.partial" / "kernel-norm-0.json"
    before = stored.read_bytes()
    assert not out.exists()
    (tmp_path / "spared").touch()
    again = compare(files, out, "killed,kernel-norm", "--resume")
    assert again.exit_code == 0, again.output
    (kept,) = json.loads((out / "comparison.json").read_text())["repairs"][1:]
    assert kept == json.loads(before)["record"]
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        ("InputError", 2, "valid.h5: cannot be read (gone). Look for it"),
        ("MemoryError", 2, "repair it (raises: there is not enough memory for this; raises: there"),
        ("ValueError", 70, "a fault of ytf-torch, please report it: ValueError: no such value"),
    ],
)
@pytest.mark.slow
def test_an_error_in_a_worker_ends_the_command_as_it_does_in_one_process(
    error: str, status: int, said: str, files: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "error").write_text(error)
    ends = []
    for cores in (1, 2):
        done = compare(files, tmp_path / "out", "raises", "--seeds", "2", cores=cores)
        assert not (tmp_path / "out").exists()
        assert not (tmp_path / "out.partial").exists()
        ends.append((done.exit_code, done.stderr))
    assert ends[0] == ends[1]
    assert ends[0][0] == status
    assert said in ends[0][1]


@pytest.mark.slow
def test_where_the_measured_repair_fails_detectors_are_measured_with_the_next(
    files: dict[str, Path], tmp_path: Path
) -> None:
    """Side by side it was made already, without detectors, and is made again."""
    methods = "late-failure,kernel-norm,clp"
    assert compare(files, tmp_path / "alone", methods, cores=1).exit_code == 0
    (tmp_path / "late").touch()
    assert compare(files, tmp_path / "out", methods).exit_code == 0
    first, second = (
        without_times(tmp_path / name / "comparison.json") for name in ("alone", "out")
    )
    assert first == second
    repairs = json.loads(first)["repairs"]
    assert [set(one.get("detectors", ())) for one in repairs] == [set(), set(DETECTORS), set()]
    assert repairs[0]["failed"].endswith("nothing to offer")


@pytest.mark.slow
def test_a_repair_without_enough_memory_next_to_another_is_made_alone(
    files: dict[str, Path], tmp_path: Path
) -> None:
    done = compare(files, tmp_path / "out", "hungry,patient")
    assert done.exit_code == 0, done.output
    repairs = json.loads((tmp_path / "out" / "comparison.json").read_text())["repairs"]
    assert [one["history"] for one in repairs] == [["left as it was"]] * 2


class Command:
    """A comparison of kernel-norm and repairs that wait, in a process group of its own."""

    def __init__(self, files: dict[str, Path], folder: Path) -> None:
        self.folder = folder
        words = arguments(files, folder / "out", "kernel-norm,waiting", "--seeds", "2")
        path = os.pathsep.join((str(folder / "site"), str(ROOT)))
        self.process = subprocess.Popen(
            [*program("compare"), *words],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "2"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def workers(self) -> list[int]:
        """The processes that wait."""
        return [int(path.name.split("-")[2]) for path in self.folder.glob("waiting-*")]

    def __enter__(self) -> Command:
        wait_for(lambda: len(self.workers) == 2)
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()


@posix
@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGTERM, False)],
)
@pytest.mark.slow
def test_a_signal_ends_all_processes_and_finished_repairs_stay(
    number: signal.Signals, group: bool, files: dict[str, Path], tmp_path: Path
) -> None:
    """Ctrl-C in a terminal is sent to the process group, `kill` to one process."""
    with Command(files, tmp_path) as command:
        assert all(map(is_running, command.workers))
        (os.killpg if group else os.kill)(command.process.pid, number)
        _, printed = command.process.communicate(timeout=60)
        assert not any(map(is_running, command.workers))
    assert command.process.returncode == 128 + number
    assert printed.splitlines()[-1] == f"error: stopped by {number.name}. Go on with --resume"
    assert all(line.startswith("warning: ") for line in printed.splitlines()[:-1])
    assert not (tmp_path / "out").exists()
    kept = sorted(path.name for path in (tmp_path / "out.partial").glob("*-*.json"))
    assert kept == ["kernel-norm-0.json", "kernel-norm-1.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.slow
def test_workers_of_a_killed_process_end(files: dict[str, Path], tmp_path: Path) -> None:
    with Command(files, tmp_path) as command:
        os.kill(command.process.pid, signal.SIGKILL)
        command.process.communicate(timeout=60)
        until = time.monotonic() + 20
        while any(map(is_running, command.workers)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(map(is_running, command.workers))
    (tmp_path / "go-on").touch()
    methods = ("kernel-norm,waiting", "--seeds", "2", "--resume")
    assert compare(files, tmp_path / "out", *methods).exit_code == 0
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (run["resumed"], run["threads"]) == (True, 1)


def settings_of(files: dict[str, Path], out: Path, **more: Any) -> CompareSettings:
    return CompareSettings(
        model=files["--model"],
        clean_valid=files["--clean-valid"],
        clean_test=files["--clean-test"],
        poisoned_test=(files["--poisoned-test"],),
        out=out,
        **{"device": "cpu", "methods": ("kernel-norm", "clp"), **more},
    )


@pytest.mark.parametrize(
    ("more", "at_once"),
    [
        ({}, 2),
        ({"seeds": 2}, 3),
        ({"methods": ("clp",), "clean_control": Path("control.safetensors")}, 2),
        ({"methods": ("clp",)}, 1),
        ({"methods": ("clp", KernelNorm())}, 1),
    ],
)
def test_each_core_makes_one_repair_where_other_processes_can(
    more: dict[str, Any], at_once: int, files: dict[str, Path], tmp_path: Path
) -> None:
    torch.set_num_threads(3)
    settings = settings_of(files, tmp_path / "out", **more)
    assert repairs_at_once(settings) == at_once
    with threads_of_a_repair(settings):
        assert torch.get_num_threads() == (3 if at_once == 1 else 1)
    assert torch.get_num_threads() == 3


def test_what_is_in_memory_stays_in_one_process(files: dict[str, Path], tmp_path: Path) -> None:
    badnet = made_badnet()
    arrays = images_of(badnet.clean.numpy(), badnet.people.numpy())
    for more in (
        {"model": load_checkpoint(files["--model"])},
        {"clean_valid": arrays},
        {"clean_test": arrays},
        {"poisoned_test": (files["--poisoned-test"], arrays)},
    ):
        torch.set_num_threads(3)
        given = vars(settings_of(files, tmp_path / "out")) | more
        assert repairs_at_once(CompareSettings(**given)) == 1


@pytest.mark.slow
def test_from_python_as_well(files: dict[str, Path], tmp_path: Path) -> None:
    torch.set_num_threads(2)
    result = ytf_torch.compare(
        files["--model"], files["--clean-valid"], methods=["meeting"], seeds=2, device="cpu"
    )
    assert [row.seeds for row in result.rows] == [2]
    assert len(list(tmp_path.glob("met-*"))) == 2


@pytest.fixture
def opened(files: dict[str, Path], tmp_path: Path) -> tuple[CompareSettings, dict[str, Any]]:
    """The settings of a comparison, and the job of its workers."""
    settings = settings_of(files, tmp_path / "out")
    network, sets = open_repair(settings)
    inputs = comparison_record(network.badnet, sets, settings, None, CPU)
    job = job_of(settings, Subjects(network.badnet, None, sets), json.loads(json.dumps(inputs)))
    return settings, json.loads(json.dumps(job))


def test_a_worker_opens_the_same_network_and_sets(
    opened: tuple[CompareSettings, dict[str, Any]],
) -> None:
    _, job = opened
    subjects = open_subjects(job)
    assert torch.equal(
        subjects.badnet.model.get_parameter("output.weight"),
        made_badnet().network.get_parameter("output.weight"),
    )
    assert subjects.badnet.provenance.history == ("made for a test",)
    assert [len(images) for images in subjects.sets.every] == [50, 50, 50]
    assert subjects.control is None


def test_a_network_that_is_replaced_before_a_worker_reads_it_ends_the_comparison(
    opened: tuple[CompareSettings, dict[str, Any]], files: dict[str, Path]
) -> None:
    _, job = opened
    provenance = load_checkpoint(files["--model"]).provenance
    save_checkpoint(Checkpoint(made_badnet().sound, provenance), files["--model"])
    with pytest.raises(InputError) as failure:
        open_subjects(job)
    assert failure.value.line().startswith(f"{files['--model']}: was replaced or changed while")


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("weights", "model.safetensors"),
        ("clean_control", "control.safetensors"),
        ("PyTorch", "an installed package"),
    ],
)
def test_what_has_changed_is_named(
    key: str, named: str, opened: tuple[CompareSettings, dict[str, Any]]
) -> None:
    inputs = opened[1]["inputs"]
    check_same(inputs, inputs, Path("model.safetensors"), Path("control.safetensors"))
    with pytest.raises(InputError, match=rf"^{re.escape(named)}: was replaced or changed"):
        check_same(
            inputs, inputs | {key: "x"}, Path("model.safetensors"), Path("control.safetensors")
        )
