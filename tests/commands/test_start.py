"""Every command as a separate process: start, interruption, output."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

from tests.conftest import ROOT
from tests.made.keras_files import SMALL, random_images, write_faces
from ytf_torch.commands import start
from ytf_torch.commands.endings import STOPPING
from ytf_torch.commands.terminal import App, Command
from ytf_torch.defences.repairs.pruning import pruned_checkpoint
from ytf_torch.network.checkpoint import Checkpoint, save_checkpoint

SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX's signals and streams")


def program(command: str) -> list[str]:
    """The equivalent of a command's installed script, whether or not it is installed."""
    return [sys.executable, "-c", f"from ytf_torch.commands.start import {command} as c; c()"]


def shell(line: str, *words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which "$@" are the arguments."""
    return subprocess.run(
        ["bash", "-c", line, "-", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,  # type: ignore[call-overload]
    )


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "faces.h5", random_images(SMALL, 40), [0] * 40)


def converting(keras_file: Path, *more: object) -> list[object]:
    return [*program("convert"), keras_file, "-o", keras_file.with_name("out.safetensors"), *more]


@pytest.fixture
def detecting(tmp_path: Path, checkpoint: Checkpoint) -> list[object]:
    """The arguments of ytf-detect with B and B′, without inputs."""
    badnet, pruned = tmp_path / "b.safetensors", tmp_path / "pruned.safetensors"
    save_checkpoint(checkpoint, badnet)
    save_checkpoint(pruned_checkpoint(checkpoint, "conv_3", "pool_3", (0, 1, 2)), pruned)
    return [*program("detect"), "--model", badnet, "--pruned", pruned]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_starts_in_one_place_and_ends_in_one_line(script: str) -> None:
    module, function = SCRIPTS[script].split(":")
    assert module == start.__name__
    assert script == f"ytf-{function}"
    assert getattr(start, function).args == (function,)
    app = import_module(f"ytf_torch.commands.{function}").app
    assert isinstance(app, App)
    assert isinstance(get_command(app), Command)


@pytest.mark.parametrize(("given", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_do_not_spin_while_they_wait_unless_they_are_asked_to(
    given: str | None, policy: str
) -> None:
    """On a busy machine, spinning threads occupy the cores of the thread that they wait for."""
    at_the_end = "import atexit, os; atexit.register(lambda: print(os.environ['OMP_WAIT_POLICY']))"
    *python, starting = program("prune")
    environment = {name: text for name, text in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [*python, f"{at_the_end}; {starting}", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment | ({} if given is None else {"OMP_WAIT_POLICY": given}),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == policy


FAULTS_OF_A_BLOCK = """
import atexit, resource

def faults_when_it_is_wanted_again():
    faults = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        bytearray(24 * 2**20)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    print(faults[-1])

atexit.register(faults_when_it_is_wanted_again)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries are left alone")
def test_memory_as_of_feature_maps_is_fetched_from_the_system_once() -> None:
    """24 MiB are 6,144 pages, which glibc by default gives back and fetches anew."""
    *python, starting = program("prune")
    code = f"{FAULTS_OF_A_BLOCK}\n{starting}"
    done = subprocess.run([*python, code, "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 600


def test_nothing_heavy_is_loaded_before_a_command_can_be_interrupted() -> None:
    loaded = "import ytf_torch.commands.start, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, cwd=ROOT)
    assert not {"torch", "numpy", "typer", "rich", "pydantic"} & set(done.stdout.split())


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.slow
def test_a_mistake_on_the_command_line_is_one_line(script: str) -> None:
    done = shell('"$@" --no-such-flag', *program(SCRIPTS[script].split(":")[1]))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: No such option: --no-such-flag")
    assert done.stderr.count("\n") == 1


@posix
@pytest.mark.parametrize("number", STOPPING)
@pytest.mark.slow
def test_a_signal_while_modules_load_is_one_line(number: signal.Signals, keras_file: Path) -> None:
    command = [str(word) for word in converting(keras_file)]
    begun = 'import ytf_torch.commands.start as s; print("begun", flush=True); s.convert()'
    for moment in (0.0, 0.1, 0.3, 0.6, 1.2):
        child = subprocess.Popen(
            [sys.executable, "-c", begun, *command[3:]],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        time.sleep(0.05 + moment)
        os.killpg(child.pid, number)
        said = child.communicate()[1]
        if child.returncode != 0:  # it was done before
            assert child.returncode == 128 + number
            assert said == f"error: stopped by {number.name}\n"


@posix
@pytest.mark.slow
class TestStreams:
    def test_a_reader_that_is_gone_costs_no_file(self, keras_file: Path) -> None:
        done = shell('"$@" | head -0; exit ${PIPESTATUS[0]}', *converting(keras_file))
        assert (done.returncode, done.stderr) == (141, "")
        assert keras_file.with_name("out.safetensors").stat().st_size > 1000

    def test_answers_without_a_reader_end_quietly(
        self, detecting: list[object], faces: Path
    ) -> None:
        line = '"$@" | head -0; exit ${PIPESTATUS[0]}'
        done = shell(line, *[*detecting, faces])
        assert (done.returncode, done.stderr) == (141, "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    @pytest.mark.parametrize("command", ["convert", "detect"])
    def test_output_that_cannot_be_printed_is_one_line(
        self, command: str, detecting: list[object], keras_file: Path, faces: Path
    ) -> None:
        words = converting(keras_file) if command == "convert" else [*detecting, faces]
        done = shell('"$@" >/dev/full', *words)
        assert done.returncode == 2
        assert (
            done.stderr == "error: standard output: cannot be written (No space left on device)\n"
        )
        if command == "convert":
            assert keras_file.with_name("out.safetensors").stat().st_size > 1000

    def test_with_standard_output_closed_files_are_written(self, keras_file: Path) -> None:
        done = shell('"$@" >&-', *converting(keras_file))
        assert (done.returncode, done.stderr) == (0, "")
        assert keras_file.with_name("out.safetensors").stat().st_size > 1000

    def test_with_standard_error_closed_answers_stand_alone(
        self, detecting: list[object], faces: Path
    ) -> None:
        words = [*detecting, "--only-class", "none.png", faces]
        done = shell('"$@" 2>&-', *words)
        assert done.returncode == 0
        answers = done.stdout.splitlines()
        assert len(answers) == 40
        assert all(answer.isdecimal() for answer in answers)

    @pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
    def test_signs_that_a_terminal_lacks_are_replaced(
        self, encoding: str, detecting: list[object], faces: Path
    ) -> None:
        named = faces.rename(faces.with_name("naïve→.h5"))
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(
            [str(word) for word in [*detecting, named]],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        first = done.stdout.decode(encoding).splitlines()[0]
        name = "na\\xefve->.h5" if encoding == "ascii" else "naïve->.h5"
        assert f"{name}[0]: " in first
        assert "B' " in first


@posix
@pytest.mark.slow
def test_files_are_written_for_their_owner_whatever_the_umask(keras_file: Path) -> None:
    done = shell('umask 777; "$@"', *converting(keras_file))
    assert (done.returncode, done.stderr) == (0, "")
    assert keras_file.with_name("out.safetensors").stat().st_mode & 0o777 == 0o600


WITHOUT_OVERRIDES = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


def as_ordinary_user() -> list[str]:
    """A prefix under which file permissions apply to a command, even if root runs the tests."""
    if os.geteuid() != 0:
        return []
    if subprocess.run([*WITHOUT_OVERRIDES, "true"], capture_output=True, check=False).returncode:
        pytest.skip("root cannot give up its rights here")
    return WITHOUT_OVERRIDES


@posix
@pytest.mark.slow
class TestPermissions:
    @pytest.mark.parametrize(
        "words",
        [
            ["convert", "locked/net.h5"],
            ["convert", "net.h5", "-o", "locked/net.safetensors"],
            ["convert", "net.h5", "--json", "locked/report.json"],
            ["evaluate", "locked/net.h5", "face.png"],
            ["prune", "--model", "net.h5", "--clean-valid", "faces.h5", "--out", "locked/run"],
            ["prune", "--model", "net.h5", "--clean-valid", "locked/faces.h5", "--out", "run"],
            ["prune", "--config", "locked/settings.toml"],
            ["demo", "--out", "locked/run"],
        ],
    )
    def test_a_folder_that_may_not_be_entered_is_named(
        self, words: list[str], keras_file: Path, faces: Path
    ) -> None:
        keras_file.rename(keras_file.with_name("net.h5"))
        folder = keras_file.with_name("locked")
        folder.mkdir(mode=0)
        command = [*as_ordinary_user(), *program(words[0])]
        done = shell(f'cd {keras_file.parent}; "$@"', *command, *words[1:])
        folder.chmod(0o700)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")
        assert "locked" in done.stderr
        assert "Permission denied" in done.stderr
        assert done.stderr.count("\n") == 1
        assert list(folder.iterdir()) == []

    def test_one_unreadable_file_among_many_costs_no_answers(
        self, detecting: list[object], faces: Path
    ) -> None:
        locked = faces.with_name("locked.h5")
        shutil.copy(faces, locked)
        locked.chmod(0)
        command = [*detecting, locked, faces, "--only-class"]
        done = shell('"$@"', *as_ordinary_user(), *command)
        assert done.returncode == 0
        assert len(done.stdout.split()) == 40
        assert f"error: {locked}: cannot be read (Permission denied)\n" in done.stderr

    def test_a_file_that_may_not_be_written_is_not_replaced(self, keras_file: Path) -> None:
        target = keras_file.with_name("out.safetensors")
        target.write_text("precious")
        target.chmod(0o400)
        done = shell('"$@"', *as_ordinary_user(), *converting(keras_file))
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {target}: is write-protected")
        assert target.read_text() == "precious"


@pytest.mark.slow
class TestAModuleOfTheUsersInTheWorkingFolder:
    @pytest.fixture
    def shadowed(self, tmp_path: Path) -> Path:
        """A folder with an unrelated convert.py, which must not be imported."""
        (tmp_path / "convert.py").write_text("raise SystemExit('this is not yours')")
        return tmp_path

    def test_it_breaks_no_command(
        self, shadowed: Path, keras_file: Path, detecting: list[object], faces: Path
    ) -> None:
        for words in (converting(keras_file), [*detecting, faces]):
            found = shell(f'cd "{shadowed}"; PYTHONPATH="{ROOT}" exec "$@"', *words)
            assert found.returncode == 0, found.stderr

    def test_it_does_not_break_a_command_started_as_a_module(self, shadowed: Path) -> None:
        words = (sys.executable, "-m", "ytf_torch.commands.prune", "--model", "none.h5")
        sets = ("--clean-valid", "valid.h5", "--out", "run")
        found = shell(f'cd "{shadowed}"; PYTHONPATH="{ROOT}" exec "$@"', *words, *sets)
        assert found.returncode == 2
        assert "none.h5: no such file" in found.stderr

    def test_a_clone_has_a_door_of_that_name(self) -> None:
        code = "from convert import read_keras_model as r; print(r.__module__)"
        assert shell('exec "$@"', sys.executable, "-c", code).stdout == "ytf_torch.convert\n"


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (["detect", "--model", "b", "--pruned", "p", ""], "command line"),
        (["detect", "--model", "b", "--pruned", "p", "--any-pair", ""], "command line"),
        (["detect", "--model", "", "--pruned", "p", "photo.png"], "--model"),
        (["prune", "--model=", "--out", "run"], "--model"),
        (["convert", "b.h5", "-o", ""], "-o"),
    ],
)
def test_an_empty_argument_is_no_path(
    words: list[str], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *arguments = words
    app = import_module(f"ytf_torch.commands.{command}").app
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == 2
    expected = f"error: {where}: found an empty argument. Is a variable empty?\n"
    assert capsys.readouterr().err == expected
