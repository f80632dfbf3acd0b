"""What SECURITY.md says is so: its numbers, its names, and where each promise is tested."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.hostile import models
from tests.hostile.test_corpus import ATTACKS
from tests.made.keras_files import SMALL, random_weights, write_keras_file
from ytf_torch.commands.convert import app as convert
from ytf_torch.convert.keras import keras_file, keras_h5
from ytf_torch.disk import (
    hdf5_reader,
    keras_archive_reader,
    photo_reader,
    protections,
    seccomp,
    zip_reader,
)
from ytf_torch.disk.confined import SHARED_BYTES
from ytf_torch.images import input_files, layout, photos
from ytf_torch.network import checkpoint
from ytf_torch.run import learning, settings

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = {
    cells[1].strip(): cells[2].strip()
    for line in PAGE.splitlines()
    if len(cells := line.split("|")) == 5
}


def mib(size: int) -> str:
    """Whole MiB; where that is none, KiB."""
    return f"{size // 2**20} MiB" if size >= 2**20 else f"{size // 2**10} KiB"


READ = f"{hdf5_reader.BYTES_PER_SECOND // 2**20} MiB"
ALWAYS_UNPACKED = mib(hdf5_reader.ALWAYS_ALLOWED_BYTES // 16)
# Rows of the table of limits, and what the code says of them.
LIMITS = {
    "memory of an HDF5 or archive process, beyond Python's own": [mib(hdf5_reader.MAX_MEMORY)],
    "of a photo's; of a `.keras` archive's": [
        mib(photo_reader.MAX_MEMORY),
        mib(keras_archive_reader.MAX_MEMORY),
    ],
    "processor time for a file, an archive; for a photo": [
        f"{hdf5_reader.SECONDS} s, 1 s more for each {READ} read",
        f"{photo_reader.SECONDS} s",
    ],
    "one chunk; one array handed over": [
        mib(hdf5_reader.MAX_CHUNK_BYTES),
        mib(hdf5_reader.MAX_ARRAY_BYTES),
    ],
    f"size declared beyond the first {mib(hdf5_reader.ALWAYS_ALLOWED_BYTES)}": [
        f"{hdf5_reader.MAX_INFLATION} × the size of the file"
    ],
    "a text, a name, a list of names": [
        f"{mib(hdf5_reader.MAX_TEXT_BYTES)}, {mib(hdf5_reader.MAX_NAME_BYTES)}, "
        f"{hdf5_reader.MAX_NAMES:,}"
    ],
    "a member of an archive; the list of its members": [
        mib(zip_reader.MAX_MEMBER_BYTES),
        mib(zip_reader.MAX_DIRECTORY),
    ],
    f"a member of a `.keras` archive, unpacked beyond {ALWAYS_UNPACKED}": [
        f"{hdf5_reader.MAX_INFLATION} × its packed size"
    ],
    "a Keras file; its weights; layers; arrays": [
        mib(keras_file.MAX_FILE_BYTES),
        mib(keras_h5.MAX_WEIGHT_BYTES),
        f"{keras_h5.MAX_LAYERS:,}",
        f"{keras_h5.MAX_ARRAYS:,}",
    ],
    "a converted model; its header": [
        mib(checkpoint.MAX_MODEL_BYTES),
        mib(checkpoint.MAX_HEADER_BYTES),
    ],
    "values of the images that are trained on; of the triggers that a scan reverses": [
        f"{learning.MAX_VALUES_IN_MEMORY // 10**6} million",
        f"{learning.MAX_TRIGGER_VALUES // 10**6} million",
    ],
    f"images of a set; bytes that each takes beyond the first {layout.FREE_IMAGES:,}": [
        f"{layout.MAX_IMAGES:,}",
        f"1 for {round(1 / layout.MIN_BYTES_PER_VALUE)} values",
    ],
    "a photo; its pixels": [mib(photos.MAX_BYTES), f"{photo_reader.MAX_PIXELS // 10**6} million"],
    "files and folders that are walked; links in them": [
        f"{input_files.MAX_ENTRIES:,}",
        "none followed",
    ],
    "a settings file; drops; triggered sets": [
        mib(settings.MAX_CONFIG_BYTES),
        str(settings.MAX_DROPS),
        str(settings.MAX_POISONED_TESTS),
    ],
}


@pytest.mark.parametrize("row", LIMITS)
def test_a_limit_is_what_the_code_says(row: str) -> None:
    assert ROWS[row] == "; ".join(LIMITS[row])


def test_archives_are_held_to_what_hdf5_files_are() -> None:
    """The page names one number for both."""
    for name in ("MAX_MEMORY", "SECONDS", "BYTES_PER_SECOND"):
        assert getattr(zip_reader, name) == getattr(hdf5_reader, name)
    assert keras_archive_reader.SECONDS == hdf5_reader.SECONDS


def test_numbers_outside_the_table() -> None:
    calls = len(seccomp.CALLS) + len(seccomp.conditions(1))
    assert f"all but {calls} system calls" in PAGE
    assert protections.LIFETIME_SECONDS == 24 * 60 * 60
    assert f"through {mib(SHARED_BYTES)} of memory" in PAGE
    assert f"such of at most {zip_reader.MAX_ITEM_BYTES} bytes" in PAGE
    assert len(ATTACKS) > int(re.findall(r"more than (\d+) hostile files", PAGE)[0])


def cves(text: str) -> set[str]:
    return set(re.findall(r"CVE-\d+-\d+", text))


def test_published_vulnerabilities_that_are_named_are_tried() -> None:
    (tested,) = re.findall(r"- Published vulnerabilities.*?(?=\n- )", PAGE, re.DOTALL)
    assert cves(tested) == cves(" ".join(attack.name for attack in models.ATTACKS))


def test_tests_that_the_page_names_are_there() -> None:
    named = re.findall(r"`(tests/[\w/.]*)`", PAGE)
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_command_that_tells_what_is_in_force_does() -> None:
    (command,) = re.findall(r"`(python -c .*protections.*)`", PAGE)
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]],
        capture_output=True,
        check=True,
        cwd=ROOT,
        text=True,
    )
    assert done.stdout.startswith("Protections(limits=(")


def test_a_report_gets_its_name_after_the_model_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds the report finds the model."""
    named: list[Path] = []
    replace = Path.replace

    def noted(path: Path, target: Path) -> Path:
        named.append(target)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", noted)
    model, report = tmp_path / "a.safetensors", tmp_path / "a.json"
    keras = write_keras_file(tmp_path / "a.h5", SMALL, random_weights(SMALL))
    done = CliRunner().invoke(convert, [str(keras), "-o", str(model), "--json", str(report)])
    assert done.exit_code == 0, done.output
    assert named == [model, report]
