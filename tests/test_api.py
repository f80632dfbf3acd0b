"""What `import ytf_torch` offers: the whole path in Python, from files or arrays."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import ytf_torch
from tests.made.keras_files import SMALL, random_images
from tests.made.small_run import TARGET, small_sets
from ytf_torch import api
from ytf_torch.network.checkpoint import Checkpoint


@pytest.fixture
def files(tmp_path: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    small_sets(tmp_path / "faces", checkpoint)
    names = {"clean_valid": "valid.h5", "clean_test": "test.h5", "poisoned_tests": "bd_test0.h5"}
    return {use: str(tmp_path / "faces" / name) for use, name in names.items()}


@pytest.fixture
def defence(keras_file: Path, files: dict[str, Any]) -> ytf_torch.PruningDefence:
    return ytf_torch.defend(str(keras_file), **files, drops=[2, 40])


def test_a_drop_has_its_figures_and_its_networks(
    defence: ytf_torch.PruningDefence, files: dict[str, Any]
) -> None:
    repaired = defence.drop(40)
    outcome = defence.outcome
    step = outcome.drops["40"]
    assert step is not None
    assert repaired.channels == outcome.sweep.order[:step]
    assert outcome.clean_test is not None
    assert repaired.clean_test_accuracy == outcome.clean_test.at(step).correct.rate
    assert repaired.clean_valid_accuracy is not None
    assert repaired.clean_valid_accuracy <= 60
    evaluation = ytf_torch.evaluate(
        defence.run.checkpoint, files["clean_test"], repaired=repaired.checkpoint
    )
    assert evaluation.repaired is not None
    assert evaluation.repaired.clean_accuracy == repaired.figures.clean_accuracy
    assert evaluation.goodnet is not None
    assert evaluation.goodnet.clean_accuracy == repaired.goodnet_figures.clean_accuracy
    assert f"{len(repaired.channels)} channels pruned" in repr(repaired)


@pytest.mark.parametrize("points", [40, 40.0, "40"])
def test_a_drop_may_be_any_kind_of_number(
    defence: ytf_torch.PruningDefence, points: float | str
) -> None:
    assert defence.drop(points).drop == "40"


def test_a_drop_that_was_not_asked_for_or_reached(
    keras_file: Path, files: dict[str, Any], defence: ytf_torch.PruningDefence
) -> None:
    with pytest.raises(ValueError, match="one of the drops 2, 40, found 7"):
        defence.drop(7)
    never = ytf_torch.defend(keras_file, files["clean_valid"], drops=[100])
    with pytest.raises(ValueError, match="no step of the sweep costs 100 points"):
        never.drop(100)


def test_it_looks_like_its_table(defence: ytf_torch.PruningDefence) -> None:
    text, page = repr(defence), defence._repr_html_()
    for part in ("B, as it came", "B′, drop 40", "GoodNet, drop 40", "100.00 %"):
        assert part in text
        assert part in page
    assert page.startswith("<table>")
    assert defence.verdict in text


def test_plots_are_figures(defence: ytf_torch.PruningDefence) -> None:
    for figure in (defence.plot(), defence.plot_drops()):
        assert isinstance(figure, Figure)
        assert figure.axes[0].get_ylabel() == "percent of faces"


def test_every_step_as_rows_and_as_a_frame(defence: ytf_torch.PruningDefence) -> None:
    rows = defence.steps()
    assert [row["pruned"] for row in rows] == [str(step) for step in range(7)]
    pandas = pytest.importorskip("pandas")
    frame = defence.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.loc[0, "clean_test_accuracy"] == 100


def test_the_report_is_a_run_folder(tmp_path: Path, defence: ytf_torch.PruningDefence) -> None:
    page = defence.write_report(str(tmp_path / "run"))
    assert page == tmp_path / "run" / "report.html"
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert set(record["drops"]) == {"2", "40"}
    assert (tmp_path / "run" / "pruned_drop40.safetensors").exists()
    with pytest.raises(ytf_torch.InputError, match="finished run"):
        defence.write_report(tmp_path / "run")


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, lambda pixels: pixels / 1.0])
def test_arrays_and_tensors_give_what_files_give(
    keras_file: Path, files: dict[str, Any], defence: ytf_torch.PruningDefence, kind
) -> None:
    network = defence.run.checkpoint.model
    sets: dict[str, Any] = {}
    for use, path in files.items():
        faces = ytf_torch.open_images(Path(path), network.input_shape, network.classes)
        pixels = faces.select(range(len(faces))).pixels.numpy()
        sets[use] = ytf_torch.images_of(kind(pixels), faces.labels)
    again = ytf_torch.defend(keras_file, **sets, drops=[2, 40])
    assert again.outcome == defence.outcome
    assert "24 images of 55×47" in repr(sets["clean_test"])


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (np.zeros((2, 55, 47, 3)), [0, 1], "images, channels, height, width"),
        (np.full((2, 3, 55, 47), 0.5), [0, 1], "Give raw pixels"),
        (np.full((2, 3, 55, 47), 300), [0, 1], "values of 0–255"),
        (np.full((2, 3, 55, 47), 200), [0], "2 whole numbers"),
        (np.full((2, 3, 55, 47), 200), [0, 0.5], "2 whole numbers"),
    ],
)
def test_arrays_that_are_no_face_set(pixels: np.ndarray, labels: list, message: str) -> None:
    with pytest.raises(ytf_torch.InputError, match=message):
        ytf_torch.images_of(pixels, labels)


def test_goodnet_answers_n_where_it_flags(defence: ytf_torch.PruningDefence) -> None:
    pixels = random_images(SMALL, 40)
    repaired = defence.drop(40)
    answers = ytf_torch.predict(repaired.goodnet, pixels)
    own = ytf_torch.predict(defence.run.checkpoint.model, torch.from_numpy(pixels))
    theirs = ytf_torch.predict(repaired.network, pixels)
    assert (answers == np.where(own == theirs, own, SMALL.classes)).all()
    assert (answers == SMALL.classes).any()


def test_networks_are_handed_on(tmp_path: Path, defence: ytf_torch.PruningDefence) -> None:
    repaired = defence.drop(40)
    repaired.save(str(tmp_path / "repaired.safetensors"))
    again = ytf_torch.read_model(str(tmp_path / "repaired.safetensors"))
    assert again.provenance == repaired.checkpoint.provenance
    found = ytf_torch.export(again, str(tmp_path / "repaired.h5"))
    assert found.held
    goodnet = ytf_torch.export(
        defence.run.checkpoint, tmp_path / "goodnet.h5", goodnet=tmp_path / "repaired.h5"
    )
    assert goodnet.held


def test_paths_may_be_text(
    tmp_path: Path, keras_file: Path, files: dict[str, Any], checkpoint: Checkpoint
) -> None:
    path = str(tmp_path / "net.safetensors")
    ytf_torch.save_checkpoint(checkpoint, path)
    networks = [ytf_torch.load_checkpoint(path), ytf_torch.read_keras_model(str(keras_file), 1)]
    for network in networks:
        assert network.model.classes == SMALL.classes
    shape = checkpoint.model.input_shape
    faces = ytf_torch.open_images(files["clean_test"], shape, SMALL.classes)
    assert faces.path == Path(files["clean_test"])


def test_labels_that_a_network_does_not_know_are_refused(keras_file: Path) -> None:
    faces = ytf_torch.images_of(random_images(SMALL, 3), [0, TARGET, SMALL.classes])
    with pytest.raises(ytf_torch.InputError, match=r"labels: expected classes of 0…6, found 7"):
        ytf_torch.evaluate(keras_file, faces)


def test_the_version_and_every_name_are_there() -> None:
    assert ytf_torch.__version__ == version("ytf-torch")
    for name in ytf_torch.__all__:  # type: ignore[attr-defined]
        # Asked for twice: a module of the same name would take its place once it is loaded.
        assert getattr(ytf_torch, name) is getattr(ytf_torch, name) is getattr(api, name)
