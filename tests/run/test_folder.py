from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from tests.made.small_run import small_run
from ytf_torch.convert import read_keras_model
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint
from ytf_torch.run.finished import WRITTEN
from ytf_torch.run.folder import write_run
from ytf_torch.run.settings import read_settings


def test_everything_a_run_leaves(tmp_path: Path, checkpoint: Checkpoint) -> None:
    run, settings, exhibits = small_run(tmp_path / "data", checkpoint, drops=("2",))
    write_run(run, settings, exhibits, tmp_path)
    files = {path.name for path in tmp_path.iterdir()} - {"data", "bd_net.h5"}
    assert files == {
        "result.json",
        "trace.csv",
        "table.tex",
        "sweep.png",
        "report.html",
        "settings.toml",
        "pruned_drop2.safetensors",
    }
    assert all(map(WRITTEN.fullmatch, files))
    record = json.loads((tmp_path / "result.json").read_text())
    mask = load_checkpoint(tmp_path / "pruned_drop2.safetensors").provenance.mask
    assert mask is not None
    assert list(mask.channels) == record["drops"]["2"]["channels"]


def test_repaired_networks_as_keras_files_too(tmp_path: Path, checkpoint: Checkpoint) -> None:
    run, settings, exhibits = small_run(tmp_path / "data", checkpoint, drops=("2",))
    write_run(replace(run, keras=True), settings, exhibits, tmp_path)
    ours = load_checkpoint(tmp_path / "pruned_drop2.safetensors").model.state_dict()
    theirs = read_keras_model(tmp_path / "pruned_drop2.h5", 1.0).model.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert WRITTEN.fullmatch("pruned_drop2.h5")
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["drops"]["2"]["keras_file"] == "pruned_drop2.h5"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "pruned_drop2.h5 are Keras files" in page


def test_equal_runs_leave_equal_files(tmp_path: Path, checkpoint: Checkpoint) -> None:
    folders = tmp_path / "once", tmp_path / "again"
    for folder in folders:
        folder.mkdir()
        run = small_run(tmp_path / "data", checkpoint, drops=("2",))
        write_run(*run, folder)
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes(), path.name


def test_the_settings_saved_repeat_the_run_from_anywhere(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    run, settings, exhibits = small_run(tmp_path / "data", checkpoint)
    write_run(run, settings, exhibits, tmp_path)
    again = read_settings(tmp_path / "settings.toml", {"out": Path("elsewhere")})
    assert again == settings.model_copy(
        update={"out": Path("elsewhere"), "device": "cpu", "pixel_scale": 1.0}
    )


def test_relative_paths_become_absolute(tmp_path: Path, checkpoint: Checkpoint) -> None:
    run, settings, exhibits = small_run(tmp_path / "data", checkpoint)
    settings = settings.model_copy(update={"model": Path("bd_net.h5")})
    write_run(run, settings, exhibits, tmp_path)
    again = read_settings(tmp_path / "settings.toml", {"out": Path("elsewhere")})
    assert again.model == Path.cwd() / "bd_net.h5"


def test_half_a_surrogate_pair_in_a_name_does_not_stop_the_run(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    run, settings, exhibits = small_run(tmp_path / "data", checkpoint)
    named = settings.model_copy(update={"model": Path("bd\ud800.h5")})
    write_run(run, named, exhibits, tmp_path)
    for name in ("report.html", "settings.toml"):
        assert (tmp_path / name).read_text(encoding="utf-8")
    assert "bd?.h5" in (tmp_path / "settings.toml").read_text()
