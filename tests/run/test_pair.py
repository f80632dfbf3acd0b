from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.made.keras_files import LAB, SMALL, random_weights, write_keras_file
from ytf_torch.defences.repairs.pruning import pruned_checkpoint
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import Checkpoint, save_checkpoint
from ytf_torch.network.likelier_scale import rescaled
from ytf_torch.run.pair import open_pair

CHANNELS = (0, 2)


def keras(folder: Path, name: str, seed: int = 2, pruned: tuple[int, ...] = ()) -> Path:
    """A Keras file; the networks of two seeds have nothing to do with each other."""
    weights = random_weights(SMALL, seed)
    for array in weights["conv_3"]:
        array[..., list(pruned)] = 0
    return write_keras_file(folder / name, SMALL, weights)


def saved(path: Path, checkpoint: Checkpoint) -> Path:
    save_checkpoint(checkpoint, path)
    return path


@pytest.fixture
def badnet(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    return saved(tmp_path / "b.safetensors", checkpoint)


@pytest.fixture
def repaired(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    pruned = pruned_checkpoint(checkpoint, "conv_3", "pool_3", CHANNELS)
    return saved(tmp_path / "pruned_drop4.safetensors", pruned)


def test_b_and_what_was_made_from_it(badnet: Path, repaired: Path) -> None:
    pair = open_pair(badnet, repaired)
    assert pair.doubts == ()
    assert pair.scale_from == "file"
    assert pair.badnet.provenance.mask is None
    assert pair.repaired.provenance.mask is not None


def test_what_was_pruned_twice_was_made_from_what_was_pruned_once(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    once = pruned_checkpoint(checkpoint, "conv_3", "pool_3", CHANNELS)
    twice = pruned_checkpoint(once, "conv_3", "pool_3", (3,))
    paths = saved(tmp_path / "1.safetensors", once), saved(tmp_path / "2.safetensors", twice)
    assert open_pair(*paths).doubts == ()


def test_two_keras_files_that_belong_together(tmp_path: Path) -> None:
    b, repaired = keras(tmp_path, "b.h5"), keras(tmp_path, "p.h5", pruned=CHANNELS)
    pair = open_pair(b, repaired, 1.0)
    assert (pair.doubts, pair.scale_from) == ((), "asked")


def test_fine_tuning_leaves_a_relative(
    tmp_path: Path, badnet: Path, checkpoint: Checkpoint
) -> None:
    tuned = replace(
        checkpoint, provenance=replace(checkpoint.provenance, source_sha256="of a Keras file")
    )
    generator = torch.Generator().manual_seed(0)
    for parameter in tuned.model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += 0.3 * parameter.data.std() * noise
    assert open_pair(badnet, saved(tmp_path / "tuned.safetensors", tuned)).doubts == ()


@pytest.mark.parametrize(
    ("first", "second", "fault"),
    [
        ("b.safetensors", "b.safetensors", "the same weights as .*b.safetensors"),
        ("bd_net.h5", "b.safetensors", "the same weights as .*bd_net.h5"),
        ("pruned.safetensors", "b.safetensors", r"like B′ \(pruned 2 channels of conv_3.* swapped"),
        ("pruned.h5", "bd_net.h5", "channels are zero or cut out.* swapped"),
        ("pruned.safetensors", "pruned_more.safetensors", "both were made from one network"),
        ("b.safetensors", "other.safetensors", "made from another network than .*b.safetensors"),
        ("bd_net.h5", "other.h5", "made from another network .*other.h5 of SHA-256 .*bd_net.h5 of"),
    ],
)
def test_what_does_not_belong_together_is_refused_unless_the_user_insists(
    tmp_path: Path, keras_file: Path, checkpoint: Checkpoint, first: str, second: str, fault: str
) -> None:
    pruned = pruned_checkpoint(checkpoint, "conv_3", "pool_3", CHANNELS)
    saved(tmp_path / "b.safetensors", checkpoint)
    saved(tmp_path / "pruned.safetensors", pruned)
    more = pruned_checkpoint(checkpoint, "conv_3", "pool_3", (*CHANNELS, 3))
    saved(tmp_path / "pruned_more.safetensors", more)
    keras(tmp_path, "pruned.h5", pruned=CHANNELS)
    other = open_pair(
        keras(tmp_path, "other.h5", seed=3),
        keras(tmp_path, "other_pruned.h5", seed=3, pruned=CHANNELS),
        1.0,
    )
    saved(tmp_path / "other.safetensors", other.repaired)
    paths = tmp_path / first, tmp_path / second
    with pytest.raises(InputError, match=fault) as refused:
        open_pair(*paths)
    assert all(str(path) in str(refused.value) for path in paths)
    (doubt,) = open_pair(*paths, any_pair=True).doubts
    assert doubt.replace(" ", ": ", 1) in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "expected", "found"),
    [
        ({"classes": 8}, "7 classes, as .*bd_net.h5 has", "found 8 classes"),
        ({"input_size": (47, 62)}, "faces of 55×47 pixels, as", "found faces of 47×62 pixels"),
        ({"classes": 8, "input_size": (47, 62)}, "7 classes", "found 8 classes$"),
    ],
)
def test_what_differs_is_told_in_words(
    tmp_path: Path, keras_file: Path, changes: dict, expected: str, found: str
) -> None:
    sizes = replace(SMALL, **changes)
    other = write_keras_file(tmp_path / "other.h5", sizes, random_weights(sizes))
    with pytest.raises(InputError, match=f"other.h5: expected {expected}.*, {found}"):
        open_pair(keras_file, other, any_pair=True)


@pytest.mark.parametrize("converted", ["badnet", "repaired"])
def test_the_file_that_tells_its_pixel_scale_tells_the_others(
    tmp_path: Path, checkpoint: Checkpoint, converted: str
) -> None:
    scaled = replace(
        checkpoint,
        model=rescaled(checkpoint.model, 1 / 255),
        provenance=replace(checkpoint.provenance, pixel_scale=1 / 255),
    )
    if converted == "badnet":
        files = saved(tmp_path / "b.safetensors", scaled), keras(tmp_path, "p.h5", pruned=CHANNELS)
    else:
        pruned = pruned_checkpoint(scaled, "conv_3", "pool_3", CHANNELS)
        files = keras(tmp_path, "b.h5"), saved(tmp_path / "p.safetensors", pruned)
    pair = open_pair(*files)
    assert pair.scale_from == "file"
    assert pair.badnet.model.pixel_scale == pair.repaired.model.pixel_scale == 1 / 255
    with pytest.raises(InputError, match=r"safetensors: expected pixel scale 1,.* found 1/255"):
        open_pair(*files, 1.0)


def test_different_pixel_scales_are_refused(
    tmp_path: Path, badnet: Path, checkpoint: Checkpoint
) -> None:
    pruned = pruned_checkpoint(checkpoint, "conv_3", "pool_3", CHANNELS)
    provenance = replace(pruned.provenance, pixel_scale=1 / 255)
    other = saved(tmp_path / "p.safetensors", replace(pruned, provenance=provenance))
    with pytest.raises(InputError, match=r"expected pixel scale 1, as .*b.safe.* has, .*1/255"):
        open_pair(badnet, other, any_pair=True)


def lab_files(folder: Path, divided: bool) -> tuple[Path, Path]:
    """B and B′ that take raw pixels, or pixels divided by 255."""
    weights = random_weights(LAB)
    for name in weights:
        weights[name][1][:] = 0
    weights["conv_1"][0][:] *= 255 if divided else 1
    b = write_keras_file(folder / "b.h5", LAB, weights)
    for array in weights["conv_3"]:
        array[..., :30] = 0
    return b, write_keras_file(folder / "p.h5", LAB, weights)


def test_an_assumed_pixel_scale_that_does_not_suit_is_refused(tmp_path: Path) -> None:
    files = lab_files(tmp_path, divided=True)
    with pytest.raises(InputError, match=r"b.h5: the file tells no pixel scale.* takes 1/255"):
        open_pair(*files)
    assert open_pair(*files, 1 / 255).doubts == ()
    (doubt,) = open_pair(*files, 1.0).doubts
    assert "with 1 its answers look like those of a network that takes 1/255" in doubt


def test_an_assumed_pixel_scale_that_suits_is_named(tmp_path: Path) -> None:
    pair = open_pair(*lab_files(tmp_path, divided=False))
    assert (pair.scale_from, pair.doubts, pair.badnet.model.pixel_scale) == ("assumed", (), 1.0)
