"""What the README says is true: its Python runs, the commands and files it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.made.keras_files import (
    SMALL,
    random_images,
    random_weights,
    write_faces,
    write_keras_file,
)
from ytf_torch.convert import read_keras_model

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_keras_file(tmp_path / "bd_net.h5", SMALL, random_weights(SMALL))
    model = read_keras_model(tmp_path / "bd_net.h5", 1.0).model
    for seed, name in enumerate(("valid.h5", "test.h5", "bd_test.h5")):
        images = random_images(SMALL, 40, seed)
        with torch.inference_mode():
            labels = model(torch.from_numpy(images)).argmax(1).numpy()
        write_faces(tmp_path / name, images, labels)
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict = {}
    exec(example, names)
    with torch.inference_mode():
        scores = names["goodnet"](torch.from_numpy(random_images(SMALL, 3)))
    assert scores.shape == (3, SMALL.classes + 1)
    assert names["defence"].outcome.clean_valid.correct[0] == 40
    assert (tmp_path / "report" / "report.html").exists()
    assert (tmp_path / "repaired.h5").exists()
    assert np.isfinite(names["defence"].outcome.sweep.mean_activation).all()


@pytest.mark.parametrize("command", ["python3 bootstrap.py demo", "python3 bootstrap.py test"])
def test_two_commands_do_all_the_set_up(command: str) -> None:
    assert command in README
    assert f'"{command.split()[-1]}"' in (ROOT / "bootstrap.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    sorted(
        set(re.findall(r"(?:`|\()((?:benchmarks|docs|tests|configs|ytf_torch)/[\w./-]+\w)", README))
    ),
)
def test_every_file_it_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()
