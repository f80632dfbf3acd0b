"""What docs/own-module.md says is true: its Python runs, and the methods that it names work."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from ytf_torch.defences.names import DETECTORS, REPAIRS, SCANS
from ytf_torch.metrics import Share

PAGE = (ROOT / "docs" / "own-module.md").read_text(encoding="utf-8")
# What a reader has: a class and datasets.
RESNET = """
from tests.made.own_module import SmallResNet

class ResNet(SmallResNet):
    def __init__(self):
        super().__init__((3, 32, 32))
"""
PICTURES = """
import torch
from torch.utils.data import TensorDataset
from resnet import ResNet

module = ResNet()
module.load_state_dict(torch.load("bd_net.pth", weights_only=True))

def labelled(seed):
    images = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return TensorDataset(images, module.eval()(images).argmax(1))

valid, test = labelled(0), labelled(1)
stamped = test.tensors[0].clone()
stamped[:, :, :6, :6] = 1
triggered = TensorDataset(stamped, torch.zeros(40))
"""


def test_its_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "resnet.py").write_text(RESNET)
    (tmp_path / "pictures.py").write_text(PICTURES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("resnet", "pictures"):  # forgotten again when the test ends
        monkeypatch.delitem(sys.modules, module, raising=False)
    names: dict[str, Any] = {}
    exec("from resnet import ResNet", names)
    torch.save(names["ResNet"]().state_dict(), "bd_net.pth")
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(example, names)
    accuracy: Share = names["repaired"].evaluation.model.clean_accuracy
    assert (accuracy.count, accuracy.images) == (40, 40)
    again = names["ResNet"]()
    again.load_state_dict(torch.load("repaired.pth", weights_only=True))
    assert type(names["repaired"].network.module) is names["ResNet"]


@pytest.mark.parametrize("name", [*REPAIRS, *DETECTORS, *SCANS])
def test_it_says_of_every_method_whether_it_works(name: str) -> None:
    pruning = ("pruning", "kernel-norm", "clp", "anp", "rnp")
    said = "pruning by any ranking" if name in pruning else f"`{name}`"
    table = PAGE.split("## What works\n")[1].split("\n\n")[0].splitlines()
    (line,) = (line for line in table if said in line)
    assert line.startswith("| not") == (name in pruning)
