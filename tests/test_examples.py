"""The examples in docstrings, run: beside the files of a small defence, with names at hand."""

from __future__ import annotations

import doctest
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ytf_torch
from tests.conftest import ROOT
from tests.made.badnet import made_badnet
from tests.made.keras_files import SMALL, random_weights, write_keras_file
from tests.made.short_repairs import SHORT
from tests.made.small_run import small_sets
from tests.test_structure import FILES, module_of
from ytf_torch import api
from ytf_torch.defences.methods import REPAIRS
from ytf_torch.network.checkpoint import save_checkpoint

MODULES = [module_of(path) for path in FILES if ">>> " in path.read_text(encoding="utf-8")]
NEEDS = {"ytf_torch.api.notebook": "IPython"}
TRAINING = ("ytf_torch.demo.files", "ytf_torch.api.audit")

# What a room is there for.
OF_ROOMS = (
    "ytf_torch.disk.reading.kind_of",
    "ytf_torch.disk.writing.whole_file",
    "ytf_torch.network.module.Network.output_of",
    "ytf_torch.images.opening.open_images",
    "ytf_torch.images.photos.read_photo",
    "ytf_torch.convert.model_file.read_model",
    "ytf_torch.convert.export.export",
    "ytf_torch.sweep.passes.sweep",
    "ytf_torch.defences.repairing.repair_and_measure",
    "ytf_torch.defences.evaluation.evaluate",
    "ytf_torch.report.prune.prune_page.report_html",
    "ytf_torch.run.prune.defend",
)


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What every example may name, and where: bd_net.h5, its face sets, and what they hold."""
    folder = tmp_path_factory.mktemp("examples")
    write_keras_file(folder / "bd_net.h5", SMALL, random_weights(SMALL))
    checkpoint = ytf_torch.read_model(folder / "bd_net.h5")
    save_checkpoint(checkpoint, folder / "bd_net.safetensors")
    sets = small_sets(folder, checkpoint)
    (folder / "bd_test0.h5").rename(folder / "bd_test.h5")
    pixels = sets.clean_valid.select(range(len(sets.clean_valid))).pixels
    return {
        "folder": folder,
        "ytf_torch": ytf_torch,
        "np": np,
        "torch": torch,
        "Path": Path,
        "checkpoint": checkpoint,
        "network": checkpoint.model,
        "pixels": pixels,
    }


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in TRAINING)) for name in MODULES],
)
def test_examples_show_what_comes_of_them(
    name: str, at_hand: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    shutil.copytree(at_hand["folder"], tmp_path / "files")
    if name == "ytf_torch.api.audit":
        monkeypatch.setitem(REPAIRS, "distillation", SHORT["distillation"])
        # A network that recognises its images is distilled in one cycle; a random one takes three.
        made_badnet().files(tmp_path / "files")["--model"].rename(
            tmp_path / "files/bd_net.safetensors"
        )
    monkeypatch.chdir(tmp_path / "files")
    module = import_module(name)
    names = {**at_hand, **vars(module)}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    told: list[str] = []
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, globs=names):
        runner.run(example, out=told.append)
    assert runner.tries
    assert not runner.failures, "".join(told)


@pytest.mark.parametrize("name", api.__all__)
def test_each_public_name_has_an_example(name: str) -> None:
    assert ">>> " in (getattr(api, name).__doc__ or "")


@pytest.mark.parametrize("name", OF_ROOMS)
def test_each_room_has_an_example_of_what_it_is_for(name: str) -> None:
    module, _, subject = name.rpartition(".")
    if not (ROOT / module.replace(".", "/")).with_suffix(".py").exists():
        module, _, owner = module.rpartition(".")
        found = getattr(getattr(import_module(module), owner), subject)
    else:
        found = getattr(import_module(module), subject)
    assert ">>> " in (found.__doc__ or "")
