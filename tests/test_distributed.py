"""A run of several processes, started by torchrun as a user does, against the same run of one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from tests.made.keras_files import SMALL, random_images, write_faces
from ytf_torch.distributed import Place, gathered, is_first
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.hdf5_images import HDF5Images
from ytf_torch.images.image_set import ImageSet
from ytf_torch.images.shares import share_of
from ytf_torch.network.checkpoint import Checkpoint, save_checkpoint

IMAGES = {"valid": 700, "test": 300, "bd_test": 100}
DYING_WORKER = """
import os, signal
from ytf_torch.images import hdf5_images as faces
from ytf_torch.commands.prune import app
if os.environ["RANK"] == os.environ["DYING_RANK"]:
    faces.checked_pixels = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
app()
"""
CUT_OFF_WORKER = """
import os
from ytf_torch.commands.prune import app
from ytf_torch.run.work_folder import WorkFolder
keep = WorkFolder.keep
def keep_and_stop(self, name, figures):
    keep(self, name, figures)
    if name == "swept-0-0":
        raise KeyboardInterrupt
WorkFolder.keep = keep_and_stop
app()
"""
WORKER_WITH_FILES_OF_ITS_OWN = """
import os, sys
from ytf_torch.commands.prune import app
sys.argv = [argument.replace("{rank}", os.environ["RANK"]) for argument in sys.argv]
app()
"""


def faces(images: int) -> ImageSet:
    return HDF5Images(Path("valid.h5"), SMALL.input_shape, np.arange(images))


class TestShares:
    @pytest.mark.parametrize("processes", [1, 2, 3, 7])
    @pytest.mark.parametrize("images", [1, 63, 64, 65, 256, 700])
    def test_each_image_is_in_one_share_and_shares_begin_where_batches_do(
        self, images: int, processes: int
    ) -> None:
        shares = [share_of(faces(images), Place(rank, processes)) for rank in range(processes)]
        assert np.concatenate([share.labels for share in shares]).tolist() == list(range(images))
        for share, following in pairwise(shares):
            assert following.first == share.first + len(share)
            assert following.first % BATCH_SIZE == 0 or len(following) == 0
        assert max(map(len, shares)) - min(map(len, shares)) <= 2 * BATCH_SIZE - 1

    def test_one_process_has_it_all(self) -> None:
        assert share_of(faces(70)).labels.tolist() == list(range(70))
        assert gathered("mine") == ["mine"]
        assert is_first()


@pytest.fixture
def inputs(tmp_path: Path, checkpoint: Checkpoint) -> dict[str, Path]:
    """A model and face sets which it knows but for every ninth face."""
    paths = {"model": tmp_path / "model.safetensors"}
    save_checkpoint(checkpoint, paths["model"])
    for seed, (name, images) in enumerate(IMAGES.items(), start=1):
        pixels = random_images(SMALL, images, seed)
        with torch.inference_mode():
            labels = checkpoint.model(torch.from_numpy(pixels)).argmax(1).numpy()
        labels[::9] = (labels[::9] + 1) % SMALL.classes
        paths[name] = write_faces(tmp_path / f"{name}.h5", pixels.astype(np.float64), labels)
    return paths


def prune(
    inputs: dict[str, Path], out: Path, *more: str, processes: int = 1, script: Path | None = None
) -> subprocess.CompletedProcess[str]:
    program = ["-m", "ytf_torch.commands.prune"] if script is None else [str(script)]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone"]
        program = [*launcher, f"--nproc-per-node={processes}", *program]
    sets: list[str | Path] = ["--clean-valid", inputs["valid"], "--clean-test", inputs["test"]]
    sets += ["--poisoned-test", inputs["bd_test"]]
    arguments = ("--model", inputs["model"], *sets, "--out", out, "--device", "cpu", *more)
    return subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def assert_one_error(
    result: subprocess.CompletedProcess[str], folder: Path, *parts: object
) -> None:
    """It failed, one process told why in one line, and no run folder is there, not even a half."""
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    for part in parts:
        assert str(part) in lines[0]
    assert not list(folder.glob("*run*"))
    assert not list(folder.glob(".run*"))


@pytest.mark.parametrize(
    ("processes", "flags"),
    [(2, ("--layer", "conv_3")), (3, ("--layer", "conv_2", "--engine", "plain"))],
)
@pytest.mark.slow
def test_several_processes_write_what_one_does_and_one_of_them_prints(
    tmp_path: Path, inputs: dict[str, Path], processes: int, flags: tuple[str, ...]
) -> None:
    alone = prune(inputs, tmp_path / "alone", *flags)
    shared = prune(inputs, tmp_path / "shared", *flags, processes=processes)
    assert shared.returncode == 0, shared.stderr
    for name in ("result.json", "trace.csv", "report.html", "sweep.png"):
        assert (tmp_path / "shared" / name).read_bytes() == (
            tmp_path / "alone" / name
        ).read_bytes(), name
    assert shared.stdout.replace("shared", "alone") == alone.stdout


@pytest.mark.parametrize("dying", ["0", "2"])
@pytest.mark.slow
def test_a_killed_process_ends_the_run(
    tmp_path: Path, inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, dying: str
) -> None:
    monkeypatch.setenv("DYING_RANK", dying)
    script = tmp_path / "worker.py"
    script.write_text(DYING_WORKER)
    result = prune(inputs, tmp_path / "run", processes=3, script=script)
    # A first process that is killed leaves its work folder, one that is not removes it.
    shutil.rmtree(tmp_path / "run.partial", ignore_errors=dying != "0")
    assert_one_error(result, tmp_path, "one of its processes ended early", "--resume")


@pytest.mark.slow
def test_a_run_cut_off_goes_on_with_another_number_of_processes(
    tmp_path: Path, inputs: dict[str, Path]
) -> None:
    alone = prune(inputs, tmp_path / "alone")
    script = tmp_path / "worker.py"
    script.write_text(CUT_OFF_WORKER)
    cut = prune(inputs, tmp_path / "run", processes=2, script=script)
    assert "error: stopped by SIGINT. Go on with --resume" in cut.stderr
    left = {path.name for path in (tmp_path / "run.partial").iterdir()}
    assert {"ranked-0.json", "swept-0-0.json"} <= left
    resumed = prune(inputs, tmp_path / "run", "--resume", processes=3)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.replace("run/", "alone/") == alone.stdout
    for name in ("result.json", "trace.csv", "report.html", "sweep.png"):
        mine, whole = ((tmp_path / run / name).read_bytes() for run in ("run", "alone"))
        assert mine == whole, name
    assert not (tmp_path / "run.partial").exists()


@pytest.mark.slow
def test_a_bad_pixel_in_one_share_is_told_once(tmp_path: Path, inputs: dict[str, Path]) -> None:
    with h5py.File(inputs["valid"], "r+") as file:
        file["data"][650, 0, 3, 3] = np.nan
    result = prune(inputs, tmp_path / "run", processes=2)
    assert_one_error(result, tmp_path, inputs["valid"], "expected pixel values of 0–255, found NaN")


@pytest.mark.slow
def test_a_missing_file_is_told_once(tmp_path: Path, inputs: dict[str, Path]) -> None:
    inputs["test"].unlink()
    result = prune(inputs, tmp_path / "run", processes=2)
    assert_one_error(result, tmp_path, inputs["test"], "no such file")


@pytest.mark.slow
def test_processes_with_different_files_refuse_to_share_a_run(
    tmp_path: Path, inputs: dict[str, Path]
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER_WITH_FILES_OF_ITS_OWN)
    pixels = random_images(SMALL, 10)
    for rank in range(2):
        write_faces(tmp_path / f"bd_test{rank}.h5", pixels, np.full(10, rank))
    inputs["bd_test"] = tmp_path / "bd_test{rank}.h5"
    result = prune(inputs, tmp_path / "run", processes=2, script=script)
    assert_one_error(result, tmp_path, "not the same on all processes")
