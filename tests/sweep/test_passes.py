from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, random_images, write_faces
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.defences.repairs.pruning import ENGINES, pruned_checkpoint, run_defence
from ytf_torch.errors import InputError
from ytf_torch.images.batches import BATCH_SIZE
from ytf_torch.images.image_set import ImageSet, ImageSets
from ytf_torch.images.opening import open_images
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.deepid import deepid
from ytf_torch.network.masking import bake_mask
from ytf_torch.network.preprocessing import Preprocessing
from ytf_torch.sweep.engine import MakeEngine
from ytf_torch.sweep.passes import sweep

IMAGES = 70


def answers(model: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(images)).argmax(1).numpy()


def face_set(path: Path, images: np.ndarray, labels: np.ndarray) -> ImageSet:
    return open_images(write_faces(path, images, labels), (3, 55, 47), SMALL.classes)


@pytest.fixture
def sets(tmp_path: Path, checkpoint: Checkpoint) -> ImageSets:
    """Image sets labelled by the network's own predictions, except for every ninth image."""

    def known(name: str, seed: int) -> ImageSet:
        images = random_images(SMALL, IMAGES, seed)
        labels = answers(checkpoint.model, images)
        labels[::9] = (labels[::9] + 1) % SMALL.classes
        return face_set(tmp_path / f"{name}.h5", images, labels)

    return ImageSets(known("valid", 1), known("test", 2), (known("bd_1", 3), known("bd_2", 4)))


@pytest.mark.parametrize("layer", ["conv_1", "conv_2", "conv_3", "conv_4"])
def test_every_step_is_the_network_with_that_many_channels_baked_to_zero(
    checkpoint: Checkpoint, sets: ImageSets, layer: str
) -> None:
    rank_at = layer.replace("conv", "pool") if layer != "conv_4" else layer
    swept = sweep(checkpoint.model, sets.clean_valid, sets.measured, layer, rank_at)
    assert sorted(swept.order) == list(range(len(swept.mean_activation)))
    for seed, tally, faces in zip(
        (1, 2, 3, 4), swept.tallies, (sets.clean_valid, *sets.measured), strict=True
    ):
        images = random_images(SMALL, IMAGES, seed)
        unpruned = answers(checkpoint.model, images)
        for step in range(len(swept.order) + 1):
            pruned = bake_mask(checkpoint.model, layer, swept.order[:step])
            found = answers(pruned, images)
            right = found == faces.labels
            assert tally.correct[step] == right.sum()
            assert tally.goodnet_correct[step] == (right & (found == unpruned)).sum()
            assert tally.flagged[step] == (found != unpruned).sum()


def test_the_order_ignores_every_set_but_the_clean_validation_set(
    checkpoint: Checkpoint, sets: ImageSets
) -> None:
    alone = sweep(checkpoint.model, sets.clean_valid)
    assert sweep(checkpoint.model, sets.clean_valid, sets.measured).order == alone.order
    assert sweep(checkpoint.model, sets.poisoned_tests[0]).mean_activation != alone.mean_activation


def test_a_layer_cannot_be_ranked_at_anothers_output(
    checkpoint: Checkpoint, sets: ImageSets
) -> None:
    with pytest.raises(InputError, match=r"expected pool_3 or conv_3 for .*found pool_2"):
        sweep(checkpoint.model, sets.clean_valid, rank_at="pool_2")


def test_repaired_and_goodnet_figures_are_those_of_the_models_themselves(
    checkpoint: Checkpoint, sets: ImageSets
) -> None:
    defence = run_defence(checkpoint, sets, ["2", "10", "100"])
    assert defence.drops["100"] is None
    assert defence.channels_of("100") == ()
    assert defence.poisoned_test is not None
    assert defence.clean_test is not None
    step = defence.drops["10"]
    assert step is not None
    lost = [defence.clean_valid.correct[0] - now for now in defence.clean_valid.correct]
    assert 100 * lost[step] >= 10 * IMAGES > 100 * max(lost[:step])

    pruned = pruned_checkpoint(checkpoint, "conv_3", "pool_3", defence.channels_of("10"))
    goodnet = GoodNet(checkpoint.model, pruned.model)
    for tally, sources in (
        (defence.clean_test, {2: sets.measured[0]}),
        (defence.poisoned_test, {3: sets.poisoned_tests[0], 4: sets.poisoned_tests[1]}),
    ):
        images = np.concatenate([random_images(SMALL, IMAGES, seed) for seed in sources])
        labels = np.concatenate([faces.labels for faces in sources.values()])
        assert tally.images == len(images)
        assert tally.correct[step] == (answers(pruned.model, images) == labels).sum()
        assert tally.goodnet_correct[step] == (answers(goodnet, images) == labels).sum()
        assert tally.flagged[step] == (answers(goodnet, images) == SMALL.classes).sum()


def test_a_model_converted_with_the_wrong_pixel_scale_is_refused(
    checkpoint: Checkpoint, sets: ImageSets
) -> None:
    wrong = deepid(SMALL, pixel_scale=1 / 255)
    wrong.load_state_dict(checkpoint.model.state_dict())
    broken = Checkpoint(wrong, replace(checkpoint.provenance, preprocessing=Preprocessing(1 / 255)))
    with pytest.raises(InputError, match='Give `pixel_scale="1"`; a converted model'):
        run_defence(broken, sets, ["2"])


def test_activations_that_overflow_are_refused(checkpoint: Checkpoint, sets: ImageSets) -> None:
    with torch.no_grad():
        for name in ("conv_1", "conv_2", "conv_3"):
            checkpoint.model.convolution(name).weight.fill_(1e30)
    with pytest.raises(InputError, match="not finite"):
        sweep(checkpoint.model, sets.clean_valid)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_what_is_kept_of_the_validation_set_is_bounded_and_changes_nothing(
    checkpoint: Checkpoint, sets: ImageSets, engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sweep(checkpoint.model, sets.clean_valid, sets.measured, engine=engine)
    monkeypatch.setattr("ytf_torch.sweep.passes.CACHE_BYTES", 1000)
    assert sweep(checkpoint.model, sets.clean_valid, sets.measured, engine=engine) == whole


class CutOffError(Exception):
    pass


@dataclass
class Notebook:
    """A Journal in memory that interrupts the sweep after `last` entries."""

    last: float = math.inf
    figures: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def find(self, name: str, kind: type) -> Any:
        found = self.figures.get(name)
        assert found is None or isinstance(found, kind)
        return found

    def keep(self, name: str, figures: Any) -> None:
        assert name not in self.figures
        if len(self.figures) >= self.last:
            raise CutOffError
        self.figures[name] = figures

    def find_tensor(self, name: str) -> torch.Tensor | None:
        return self.tensors.get(name)

    def keep_tensor(self, name: str, tensor: torch.Tensor) -> None:
        self.tensors[name] = tensor.clone(memory_format=torch.preserve_format)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("tensors_last", [True, False])
@pytest.mark.slow
def test_a_sweep_cut_off_anywhere_goes_on_to_the_same_figures(
    checkpoint: Checkpoint,
    sets: ImageSets,
    engine: MakeEngine,
    tensors_last: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ytf_torch.sweep.passes.PIECE", BATCH_SIZE)
    given = (checkpoint.model, sets.clean_valid, sets.measured)
    whole = sweep(*given, engine=engine)
    entries = 5 * -(-IMAGES // BATCH_SIZE)
    for last in range(entries):
        notebook = Notebook(last)
        with pytest.raises(CutOffError):
            sweep(*given, engine=engine, journal=notebook)
        assert len(notebook.figures) == last
        notebook.last = math.inf
        if not tensors_last:
            notebook.tensors.clear()
        assert sweep(*given, engine=engine, journal=notebook) == whole
        assert len(notebook.figures) == entries


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_images_prepared_before_a_cut_are_not_read_again(
    checkpoint: Checkpoint, sets: ImageSets, engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = Notebook(last=1)
    with pytest.raises(CutOffError):
        sweep(checkpoint.model, sets.clean_valid, engine=engine, journal=notebook)
    notebook.last = math.inf
    monkeypatch.setattr(ImageSet, "batches", lambda *_: pytest.fail("read again"))
    sweep(checkpoint.model, sets.clean_valid, engine=engine, journal=notebook)
    assert set(notebook.figures) == {"ranked-0", "swept-0-0"}


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("cache", [0, 2**20])
def test_the_size_of_pieces_changes_no_figure(
    checkpoint: Checkpoint,
    sets: ImageSets,
    engine: MakeEngine,
    cache: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = sweep(checkpoint.model, sets.clean_valid, sets.measured, engine=engine)
    monkeypatch.setattr("ytf_torch.sweep.passes.PIECE", BATCH_SIZE)
    monkeypatch.setattr("ytf_torch.sweep.passes.CACHE_BYTES", cache)
    cut = sweep(checkpoint.model, sets.clean_valid, sets.measured, engine=engine)
    assert (cut.order, cut.tallies) == (usual.order, usual.tallies)
    assert cut.mean_activation == pytest.approx(usual.mean_activation, rel=1e-14)


def test_progress_is_told_of_every_image_once(checkpoint: Checkpoint, sets: ImageSets) -> None:
    told: dict[str, list[int]] = {}

    def track(phase: str, total: int, unit: str = "faces") -> Callable[[int], None]:
        assert unit == "faces"
        told[phase] = [-total]
        return told[phase].append

    notebook = Notebook(last=2)
    with pytest.raises(CutOffError):
        sweep(checkpoint.model, sets.clean_valid, sets.measured, journal=notebook)
    notebook.last = math.inf
    sweep(checkpoint.model, sets.clean_valid, sets.measured, track=track, journal=notebook)
    names = ("valid", "test", "bd_1", "bd_2")
    assert list(told) == ["ranking channels", *(f"sweeping {name}.h5" for name in names)]
    assert [sum(counts) for counts in told.values()] == [0] * 5


@pytest.mark.parametrize("engine", ENGINES)
def test_descending_prunes_the_most_active_channels_first(
    checkpoint: Checkpoint, sets: ImageSets, engine: str
) -> None:
    defence = run_defence(checkpoint, sets, ["2"], engine=engine, order="descending")
    swept = defence.sweep
    means = [swept.mean_activation[channel] for channel in swept.order]
    assert means == sorted(means, reverse=True)
    assert swept.direction == "descending"
    pruned = bake_mask(checkpoint.model, "conv_3", swept.order[:1])
    faces = sets.clean_valid.select(range(len(sets.clean_valid)))
    right = answers(pruned, faces.pixels.numpy()) == faces.labels.numpy()
    assert defence.clean_valid.correct[1] == int(right.sum())
