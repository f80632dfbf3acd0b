"""The same inputs give the same bytes, whatever computes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
import torch
from typer.testing import CliRunner

from tests.run.kills import write_inputs
from ytf_torch.commands.prune import app

NAMES = ("result.json", "trace.csv", "sweep.png")
WAYS = [("fast", 1), ("fast", 2), ("fast", 3), ("plain", 2), ("plain", 1)]


@pytest.fixture(autouse=True)
def usual_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def runs(
    arguments: list[str], folder: Path, ways: list[tuple[str, int]]
) -> Iterator[dict[str, bytes]]:
    """The files of each variant, repaired models included."""
    for engine, threads in ways:
        torch.set_num_threads(threads)
        out = folder / f"{engine}-{threads}"
        done = CliRunner().invoke(app, [*arguments, "--engine", engine, "--out", str(out)])
        assert done.exit_code == 0, done.output
        models = sorted(path.name for path in out.glob("*.safetensors"))
        yield {name: (out / name).read_bytes() for name in (*NAMES, *models)}


def assert_alike(arguments: list[str], folder: Path, ways: list[tuple[str, int]] = WAYS) -> None:
    first, *others = runs([*arguments, "--device", "cpu"], folder, ways)
    assert len(json.loads(first["result.json"])["steps"]) > 5
    for other in others:
        assert other == first


@pytest.mark.slow
def test_threads_and_engines_change_no_byte(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    sets = ["--clean-valid", inputs["valid"], "--clean-test", inputs["test"]]
    sets += ["--poisoned-test", inputs["bd_test"]]
    assert_alike(["--model", str(inputs["model"]), *map(str, sets)], tmp_path)


@pytest.mark.shared_files
def test_threads_and_engines_change_no_byte_of_a_real_networks_run(
    shared: Path, tmp_path: Path
) -> None:
    orl, faces = shared / "data" / "orl", tmp_path / "some.h5"
    model = orl / "models" / "bd_net.h5"
    with h5py.File(orl / "cl" / "test.h5") as every, h5py.File(faces, "w") as some:
        for name in ("data", "label"):
            some[name] = every[name][::3]
    assert_alike(["--model", str(model), "--clean-valid", str(faces)], tmp_path, WAYS[:-1])
