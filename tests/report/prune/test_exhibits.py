from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, random_images
from tests.made.small_run import IMAGES, TARGET, small_run, small_sets, write_faces
from ytf_torch.defences.repairs.pruning import run_defence
from ytf_torch.images.image_set import ImageSets
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.masking import bake_mask
from ytf_torch.report.prune.exhibits import (
    gather_exhibits,
    most_separating,
    spread_over_labels,
)


@pytest.mark.parametrize(
    ("labels", "count", "avoid", "chosen"),
    [
        ([3, 3, 1, 0, 1, 2], 4, (), (3, 2, 5, 0)),
        ([3, 3, 1, 0, 1, 2], 2, (), (3, 5)),
        ([3, 3, 1, 0, 1, 2], 4, (0,), (2, 5, 0)),
        ([0, 0], 4, (0,), (0,)),
    ],
)
def test_examples_are_the_first_of_people_spread_over_the_labels(
    labels: list[int], count: int, avoid: tuple[int, ...], chosen: tuple[int, ...]
) -> None:
    assert spread_over_labels(np.array(labels), count, avoid) == chosen


def test_the_most_separating_channels_come_first_and_ties_by_index() -> None:
    assert most_separating([1, 5, 0, 0], [1, 0, 3, 3], 3) == (1, 2, 3)


def test_b_and_b_prime_answer_as_the_networks_themselves(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    run, _, exhibits = small_run(tmp_path, checkpoint)
    drop = exhibits.drop
    assert drop is not None
    pruned = bake_mask(checkpoint.model, "conv_3", run.defence.channels_of(drop))
    for sheet in (exhibits.clean, *exhibits.triggered):
        for face in sheet.examples:
            pixels = torch.from_numpy(face.pixels).permute(2, 0, 1)[None]
            assert face.badnet == int(checkpoint.model(pixels).argmax())
            assert face.pruned == int(pruned(pixels).argmax())
            assert face.label == sheet.faces.labels[face.index]


def test_triggered_activation_is_the_mean_over_every_triggered_face(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    sets = small_sets(tmp_path, checkpoint, triggered=2)
    exhibits = gather_exhibits(checkpoint.model, sets, run_defence(checkpoint, sets, ("2",)))
    pixels = torch.cat([batch.pixels for s in sets.poisoned_tests for batch in s.batches()])
    model = checkpoint.model
    with torch.no_grad():
        scaled = {"input": model.scale(pixels)}
        mean = model.output_of("pool_3", scaled).double().mean((0, 2, 3))
    assert exhibits.triggered_activation == pytest.approx(mean.tolist(), rel=1e-5)


def test_the_same_photos_are_found_where_the_sets_are_aligned(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    _, _, exhibits = small_run(tmp_path, checkpoint)
    (sheet,) = exhibits.triggered
    assert sheet.same_photos
    assert [f.index for f in sheet.examples] == [f.index for f in exhibits.clean.examples]


def test_different_photos_are_not_taken_for_the_same(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    sets = small_sets(tmp_path, checkpoint)
    strangers = write_faces(
        tmp_path / "strangers.h5", random_images(SMALL, IMAGES, seed=9), np.full(IMAGES, TARGET)
    )
    sets = ImageSets(sets.clean_valid, sets.clean_test, (strangers,))
    exhibits = gather_exhibits(checkpoint.model, sets, run_defence(checkpoint, sets, ("2",)))
    assert not exhibits.triggered[0].same_photos


def test_without_triggered_faces_there_are_clean_ones_only(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    _, _, exhibits = small_run(tmp_path, checkpoint, clean_test=False, triggered=0)
    assert exhibits.clean.faces.path.name == "valid.h5"
    assert exhibits.clean.examples
    assert (exhibits.triggered, exhibits.triggered_activation, exhibits.maps) == ((), None, ())


def test_feature_maps_are_the_pruned_layers_output(tmp_path: Path, checkpoint: Checkpoint) -> None:
    _, _, exhibits = small_run(tmp_path, checkpoint)
    face = exhibits.triggered[0].examples[exhibits.pair]
    model = checkpoint.model
    pixels = torch.from_numpy(face.pixels).permute(2, 0, 1)[None]
    with torch.no_grad():
        scaled = {"input": model.scale(pixels)}
        conv_3 = model.output_of("conv_3", scaled)[0].numpy()
    assert len(exhibits.maps) == 5
    for maps in exhibits.maps:
        np.testing.assert_allclose(maps.triggered, conv_3[maps.channel], rtol=1e-4, atol=1e-3)
