from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.keras_files import SMALL, random_images, write_faces
from ytf_torch.checkpoint import Checkpoint
from ytf_torch.defence import ENGINES, FaceSets, pruned_checkpoint, run_defence
from ytf_torch.errors import InputError
from ytf_torch.faces import BATCH_SIZE, FaceSet, open_faces
from ytf_torch.goodnet import GoodNet
from ytf_torch.masking import bake_mask
from ytf_torch.model import DeepID
from ytf_torch.sweep import MakeEngine, MeanActivation, sweep, whole_batch

IMAGES = 70


def answers(model: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(images)).argmax(1).numpy()


def face_set(path: Path, images: np.ndarray, labels: np.ndarray) -> FaceSet:
    return open_faces(write_faces(path, images, labels), (3, 55, 47), SMALL.classes)


@pytest.fixture
def sets(tmp_path: Path, checkpoint: Checkpoint) -> FaceSets:
    """Sets that the network knows well: labels are its own answers, but for every ninth."""

    def known(name: str, seed: int) -> FaceSet:
        images = random_images(SMALL, IMAGES, seed)
        labels = answers(checkpoint.model, images)
        labels[::9] = (labels[::9] + 1) % SMALL.classes
        return face_set(tmp_path / f"{name}.h5", images, labels)

    return FaceSets(known("valid", 1), known("test", 2), (known("bd_1", 3), known("bd_2", 4)))


@pytest.mark.parametrize("layer", ["conv_1", "conv_2", "conv_3", "conv_4"])
def test_every_step_is_the_network_with_that_many_channels_baked_to_zero(
    checkpoint: Checkpoint, sets: FaceSets, layer: str
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
    checkpoint: Checkpoint, sets: FaceSets
) -> None:
    alone = sweep(checkpoint.model, sets.clean_valid)
    assert sweep(checkpoint.model, sets.clean_valid, sets.measured).order == alone.order
    assert sweep(checkpoint.model, sets.poisoned_tests[0]).mean_activation != alone.mean_activation


def test_a_layer_cannot_be_ranked_at_anothers_output(
    checkpoint: Checkpoint, sets: FaceSets
) -> None:
    with pytest.raises(ValueError, match="conv_3 can be ranked at"):
        sweep(checkpoint.model, sets.clean_valid, rank_at="pool_2")


def test_repaired_and_goodnet_figures_are_those_of_the_models_themselves(
    checkpoint: Checkpoint, sets: FaceSets
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
        (defence.clean_test, {2: sets.clean_test}),
        (defence.poisoned_test, {3: sets.poisoned_tests[0], 4: sets.poisoned_tests[1]}),
    ):
        images = np.concatenate([random_images(SMALL, IMAGES, seed) for seed in sources])
        labels = np.concatenate([faces.labels for faces in sources.values()])
        assert tally.images == len(images)
        assert tally.correct[step] == (answers(pruned.model, images) == labels).sum()
        assert tally.goodnet_correct[step] == (answers(goodnet, images) == labels).sum()
        assert tally.flagged[step] == (answers(goodnet, images) == SMALL.classes).sum()


def test_a_model_converted_with_the_wrong_pixel_scale_is_refused(
    checkpoint: Checkpoint, sets: FaceSets
) -> None:
    wrong = DeepID(SMALL, pixel_scale=1 / 255)
    wrong.load_state_dict(checkpoint.model.state_dict())
    broken = Checkpoint(wrong, replace(checkpoint.provenance, pixel_scale=1 / 255))
    with pytest.raises(InputError, match="Convert the model again with --pixel-scale 1"):
        run_defence(broken, sets, ["2"])


def test_activations_that_overflow_are_refused(checkpoint: Checkpoint, sets: FaceSets) -> None:
    with torch.no_grad():
        for name in ("conv_1", "conv_2", "conv_3"):
            checkpoint.model.get_submodule(name).weight.fill_(1e30)
    with pytest.raises(InputError, match="not finite"):
        sweep(checkpoint.model, sets.clean_valid)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_what_is_kept_of_the_validation_set_is_bounded_and_changes_nothing(
    checkpoint: Checkpoint, sets: FaceSets, engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sweep(checkpoint.model, sets.clean_valid, sets.measured, engine=engine)
    monkeypatch.setattr("ytf_torch.sweep.CACHE_BYTES", 1000)
    assert sweep(checkpoint.model, sets.clean_valid, sets.measured, engine=engine) == whole


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("size", [7, 35, 70, 128])
def test_the_size_of_batches_changes_no_figure(
    checkpoint: Checkpoint,
    sets: FaceSets,
    engine: MakeEngine,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = sweep(checkpoint.model, sets.clean_valid, sets.measured, engine=engine)
    monkeypatch.setattr(FaceSet.batches, "__defaults__", (size,))
    monkeypatch.setattr("ytf_torch.sweep.BATCH_SIZE", size)
    other = sweep(checkpoint.model, sets.clean_valid, sets.measured, engine=engine)
    assert (other.order, other.tallies) == (usual.order, usual.tallies)


def test_means_are_exact_where_plain_sums_lose_all() -> None:
    mean = MeanActivation(batches=4)
    for value in (1e30, 1.0, -1e30):
        mean.add(torch.full((2, 1, 1, 1), value, dtype=torch.float64))
    assert mean.by_channel() == (2 / 6,)


def test_copies_of_the_last_image_fill_a_batch() -> None:
    pixels = torch.arange(3 * 2).view(3, 1, 1, 2).to(torch.uint8)
    filled = whole_batch(pixels)
    assert len(filled) == BATCH_SIZE
    assert torch.equal(filled[:3], pixels)
    assert (filled[3:] == pixels[2]).all()
    assert torch.equal(whole_batch(filled), filled)
