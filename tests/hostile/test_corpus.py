"""Every attack of the corpus through the real commands: one clear line, status 2, nothing else."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from tests.hostile import archives, faces, models, networks, others, photos, references
from tests.hostile.corpus import CANARY, Attack
from tests.made.keras_files import (
    SMALL,
    random_images,
    random_weights,
    write_faces,
    write_keras_file,
)
from ytf_torch.commands.convert import app as convert
from ytf_torch.commands.detect import app as detect
from ytf_torch.commands.prune import app as prune
from ytf_torch.defences.repairs.pruning import pruned_checkpoint
from ytf_torch.network.checkpoint import load_checkpoint, save_checkpoint

# Of processor time; of a clock's, many more, for the machine may have other work.
SECONDS, CLOCK_SECONDS = 10, 60
MAX_MEMORY = 10**9
# What each command is given, and the corpora of such files.
CORPORA = {
    "model": (models.ATTACKS, networks.KERAS),
    "archive": (archives.ATTACKS,),
    "faces": (faces.ATTACKS,),
    "photo": (photos.ATTACKS,),
    "converted": (others.CONVERTED, networks.CONVERTED),
    "reference": (references.ATTACKS,),
    "settings": (others.SETTINGS,),
}
ATTACKS = [
    (kind, attack) for kind, corpora in CORPORA.items() for corpus in corpora for attack in corpus
]


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound Keras file, its conversion and a face set."""
    return sound_files(tmp_path_factory.mktemp("good"))


def sound_files(folder: Path) -> Path:
    write_keras_file(folder / "good.h5", SMALL, random_weights(SMALL))
    result = CliRunner().invoke(convert, [str(folder / "good.h5")])
    assert result.exit_code == 0, result.output
    badnet = load_checkpoint(folder / "good.safetensors")
    pruned = pruned_checkpoint(badnet, "conv_3", "pool_3", [0, 1])
    save_checkpoint(pruned, folder / "pruned.safetensors")
    write_faces(folder / "faces.h5", random_images(SMALL, 4), [0] * 4)
    return folder


def command(kind: str, path: Path, good: Path, out: Path) -> tuple[Typer, list[str]]:
    """The command that is given a file of a kind first, and its arguments."""
    model, clean = str(good / "good.safetensors"), str(good / "faces.h5")
    return {
        "model": (convert, [str(path), "-o", str(out)]),
        "archive": (convert, [str(path), "-o", str(out)]),
        "faces": (prune, ["--model", model, "--clean-valid", str(path), "--out", str(out)]),
        "photo": (
            detect,
            ["--model", model, "--pruned", str(good / "pruned.safetensors"), str(path)],
        ),
        "converted": (prune, ["--model", str(path), "--clean-valid", clean, "--out", str(out)]),
        "reference": (convert, [str(good / "good.h5"), "-o", str(out), "--reference", str(path)]),
        "settings": (prune, ["--config", str(path)]),
    }[kind]


@pytest.fixture
def limited() -> Iterator[None]:
    """Ends a test that takes longer than a hostile file may make anything take."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"over {CLOCK_SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def check(kind: str, path: Path, says: str | None, good: Path, folder: Path) -> None:
    """Give a file to its command: one line, as it should say, status 2, nothing left behind."""
    before = set(folder.iterdir())
    app, arguments = command(kind, path, good, folder / "out")
    signal.alarm(CLOCK_SECONDS)
    result = CliRunner().invoke(app, arguments)
    signal.alarm(0)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert lines[0].isprintable()
    assert len(lines[0]) < 3000
    assert re.search(says or "", lines[0]), lines[0]
    assert set(folder.iterdir()) == before
    assert not (folder / CANARY).exists()


LIGHT = [
    pytest.param(kind, attack, id=f"{kind}: {attack.name}")
    for kind, attack in ATTACKS
    if not attack.heavy
]
HEAVY = [(kind, attack) for kind, attack in ATTACKS if attack.heavy]


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(("kind", "attack"), LIGHT)
def test_a_hostile_file_gets_one_line_and_status_2(
    kind: str, attack: Attack, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check(kind, attack.build(tmp_path), attack.says, good, tmp_path)


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("kind", CORPORA)
@pytest.mark.parametrize("attack", others.NO_FILES.parameters())
def test_what_is_no_file_is_refused_at_once(
    kind: str, attack: Attack, good: Path, tmp_path: Path
) -> None:
    check(kind, attack.build(tmp_path), attack.says, good, tmp_path)


MEASURED = """
import json, os, resource, sys
from pathlib import Path
from tests.hostile.test_corpus import check
failures, seconds = {}, {}
for name, (kind, path, says) in json.load(sys.stdin).items():
    before = sum(os.times()[:4])
    try:
        check(kind, Path(path), says, Path(sys.argv[1]), Path(path).parent)
    except Exception as error:
        failures[name] = repr(error)
    seconds[name] = sum(os.times()[:4]) - before
status = Path("/proc/self/status").read_text()
own = int(status.split("VmHWM:")[1].split()[0]) * 1024
readers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps([own, readers, seconds, failures]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
@pytest.mark.slow
def test_attacks_on_memory_and_time_get_neither(good: Path, tmp_path: Path) -> None:
    """All in a process of its own, so that its memory, and that of the process that reads HDF5, can
    be measured."""
    attacks = {}
    for index, (kind, attack) in enumerate(HEAVY):
        folder = tmp_path / str(index)
        folder.mkdir()
        attacks[attack.name] = (kind, str(attack.build(folder)), attack.says)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(good)],
        input=json.dumps(attacks),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    own, readers, seconds, failures = json.loads(done.stdout)
    assert failures == {}
    # A child counts what its parent had when it was started, so they are not added up.
    assert max(own, readers) < MAX_MEMORY
    assert {name: took for name, took in seconds.items() if took > SECONDS} == {}


def test_every_published_vulnerability_is_in_the_corpus() -> None:
    names = " ".join(attack.name for attack in models.ATTACKS)
    assert set(re.findall(r"CVE-[0-9]+-[0-9]+", names)) == {
        *("CVE-2024-3660", "CVE-2025-1550", "CVE-2025-8747", "CVE-2025-9905", "CVE-2025-9906"),
        *("CVE-2025-12058", "CVE-2025-49655"),
        *("CVE-2026-0897", "CVE-2026-1462", "CVE-2026-1669"),
    }
