from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.made.classifiers import classifier
from tests.made.keras_files import LAB, SMALL, random_images, random_weights, write_keras_file
from ytf_torch.convert.export import Subject, export
from ytf_torch.convert.keras.keras_writer import write_keras_archive
from ytf_torch.defences.repairs.pruning import pruned_checkpoint
from ytf_torch.errors import InputError
from ytf_torch.images.arrays import ImagesInMemory, images_of
from ytf_torch.network.checkpoint import Checkpoint, compact_checkpoint, save_checkpoint
from ytf_torch.network.likelier_scale import rescaled
from ytf_torch.network.module import Network
from ytf_torch.network.preprocessing import Preprocessing
from ytf_torch.network.provenance import Provenance, origin_of, origin_text
from ytf_torch.run.pair import open_network, open_pair
from ytf_torch.run.relation import kappa, pair_fault

CHANNELS = (0, 2)


def keras(folder: Path, name: str, seed: int = 2, pruned: tuple[int, ...] = ()) -> Path:
    """Write a Keras file; networks of different seeds are unrelated."""
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
        ("bd_net.h5", "other.keras", "made from another network .*other_pruned.h5 of .*bd_net.h5"),
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
    tuned = other.repaired.provenance.then("fine-tuned on 24 clean faces")
    saved(tmp_path / "other.safetensors", replace(other.repaired, provenance=tuned))
    write_keras_archive(tmp_path / "other.keras", other.repaired.model, origin_text(tuned))
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
        provenance=replace(checkpoint.provenance, preprocessing=Preprocessing(1 / 255)),
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
    provenance = replace(pruned.provenance, preprocessing=Preprocessing(1 / 255))
    other = saved(tmp_path / "p.safetensors", replace(pruned, provenance=provenance))
    with pytest.raises(InputError, match=r"expected pixel scale 1, as .*b.safe.* has, .*1/255"):
        open_pair(badnet, other, any_pair=True)


def lab_files(folder: Path, divided: bool) -> tuple[Path, Path]:
    """B and B′ that expect raw pixels, or pixels divided by 255."""
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
    with pytest.raises(InputError, match=r"b.h5: the file records no pixel scale.* takes 1/255"):
        open_pair(*files)
    assert open_pair(*files, 1 / 255).doubts == ()
    (doubt,) = open_pair(*files, 1.0).doubts
    assert "with 1 its answers look like those of a network that takes 1/255" in doubt


def test_an_assumed_pixel_scale_that_suits_is_named(tmp_path: Path) -> None:
    pair = open_pair(*lab_files(tmp_path, divided=False))
    assert (pair.scale_from, pair.doubts, pair.badnet.model.pixel_scale) == ("assumed", (), 1.0)


def trained_anew(checkpoint: Checkpoint) -> Checkpoint:
    """An equivalent network with different weights: its channels are permuted."""
    state = {name: tensor.clone() for name, tensor in checkpoint.model.state_dict().items()}
    order = torch.arange(SMALL.channels[0]).roll(1)
    state["conv_1.weight"], state["conv_1.bias"] = (
        state[f"conv_1.{part}"][order] for part in ("weight", "bias")
    )
    state["conv_2.weight"] = state["conv_2.weight"][:, order]
    features = torch.arange(SMALL.features).roll(1)
    for name in ("fc_1", "fc_2"):
        for part in ("weight", "bias"):
            state[f"{name}.{part}"] = state[f"{name}.{part}"][features]
    state["output.weight"] = state["output.weight"][:, features]
    for number, below in ((3, SMALL.channels[1]), (4, SMALL.channels[2])):
        kernel = state[f"conv_{number}.weight"]
        generator = torch.Generator().manual_seed(below)
        state[f"conv_{number}.weight"] = kernel + 0.05 * kernel.std() * torch.randn(
            kernel.shape, generator=generator
        )
    network = Network.of_state(
        checkpoint.model.graph, state, checkpoint.model.pixel_scale, "a state"
    )
    return replace(checkpoint, model=network)


def known_faces(checkpoint: Checkpoint, images: int = 60) -> ImagesInMemory:
    """Images labelled with the network's own predictions."""
    pixels = random_images(SMALL, images, seed=7)
    return images_of(pixels, checkpoint.model(torch.from_numpy(pixels)).argmax(1))


@pytest.mark.parametrize("ending", [".h5", ".weights.h5", ".keras"])
@pytest.mark.parametrize("compact", [False, True], ids=["whole", "compact"])
def test_a_keras_file_written_here_tells_what_it_was_made_from(
    tmp_path: Path, keras_file: Path, checkpoint: Checkpoint, ending: str, compact: bool
) -> None:
    student = trained_anew(checkpoint)
    made = replace(student, provenance=checkpoint.provenance.then("distilled, seed 0"))
    if compact:
        made = compact_checkpoint(made)
    path = tmp_path / f"repaired{ending}"
    assert export(Subject(made.model, made), path).held
    pair = open_pair(keras_file, path, 1.0)
    assert (pair.doubts, pair.unproven) == ((), None)
    assert pair.repaired.provenance.history == made.provenance.history
    with pytest.raises(InputError, match=r"like B′ \(.*seem swapped"):
        open_pair(path, keras_file, 1.0)


@pytest.fixture
def others_file(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    """B′ trained from scratch and saved by Keras: dissimilar weights, no recorded provenance."""
    path = tmp_path / "student.keras"
    write_keras_archive(path, trained_anew(checkpoint).model)
    return path


def test_unlike_weights_alone_are_a_warning(keras_file: Path, others_file: Path) -> None:
    pair = open_pair(keras_file, others_file, 1.0)
    assert pair.doubts == (pair.unproven,)
    assert f"{others_file} may be of another network than {keras_file}" in pair.doubts[0]


def test_clean_faces_that_both_know_settle_it(
    keras_file: Path, others_file: Path, checkpoint: Checkpoint
) -> None:
    pair = open_pair(keras_file, others_file, 1.0)
    assert pair.settled(known_faces(checkpoint)).doubts == ()
    assert pair.settled(None).doubts == pair.doubts
    assert pair.settled(known_faces(checkpoint, 5)).doubts == pair.doubts


def test_answers_no_more_alike_than_chance_are_of_another_network(
    tmp_path: Path, keras_file: Path, checkpoint: Checkpoint
) -> None:
    other = keras(tmp_path, "other.h5", seed=3)
    pair, faces = open_pair(keras_file, other, 1.0), known_faces(checkpoint)
    with pytest.raises(InputError, match=r"other.h5: was made from another network.* of the 60 "):
        pair.settled(faces)
    (doubt,) = pair.settled(faces, any_pair=True).doubts
    assert "no more than chance does" in doubt


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3], 1.0),
        ([0, 0, 1, 1], [0, 1, 0, 1], 0.0),
        ([0, 0, 1, 1], [1, 1, 0, 0], -1.0),
        ([0, 0, 0, 0], [0, 0, 0, 0], 0.0),
        ([0, 0, 0, 1], [0, 0, 0, 0], 0.0),
    ],
)
def test_kappa_counts_agreement_beyond_chance(
    first: list[int], second: list[int], expected: float
) -> None:
    assert kappa(torch.tensor([first, second])) == pytest.approx(expected)


def test_checkpoints_are_called_by_their_arguments(checkpoint: Checkpoint) -> None:
    with pytest.raises(InputError, match=r"^`goodnet`: holds the same weights as `model`; two"):
        open_pair(checkpoint, checkpoint, names=("model", "goodnet"))
    with pytest.raises(InputError, match=r"^`model`: expected pixel scale 1/255, as asked for"):
        open_network(checkpoint, 1 / 255)


UNPRINTABLE = json.dumps({"source_file": "\x1b", "source_sha256": "0", "history": ["converted"]})
ENDLESS = json.dumps({"source_file": "b", "source_sha256": "0", "history": ["pruned"] * 101})


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "{" * 9999, '{"source_file": 1}', "\0", UNPRINTABLE, ENDLESS]
)
def test_an_origin_that_was_not_written_here_is_not_read(text: str) -> None:
    assert origin_of(text) is None


def from_two_files(badnet: Network, repaired: Network) -> tuple[Checkpoint, Checkpoint]:
    """B and B′ of files that tell nothing of each other."""

    def checkpoint(network: Network, sha: str) -> Checkpoint:
        facts = network.pixel_preprocessing, network.input_shape, network.classes
        return Checkpoint(network, Provenance(*facts, "net.h5", sha, "3.0", "1"))

    return checkpoint(badnet, "0" * 64), checkpoint(repaired, "1" * 64)


@pytest.mark.parametrize("kind", ["Sequential with batch normalization", "ResNet"])
def test_networks_whose_convolutions_have_no_bias(kind: str) -> None:
    first, second = classifier(kind), classifier(kind)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(0.001)
    assert pair_fault(*from_two_files(first, second), "b.h5", "repaired.h5") is None


def test_a_channel_without_a_bias_is_cut_out_where_its_kernel_is_zero() -> None:
    kind = "Sequential with batch normalization"
    first, second = classifier(kind), classifier(kind)
    with torch.no_grad():
        first.second.weight[[1, 3]] = 0
    fault = pair_fault(*from_two_files(first, second), "b.h5", "repaired.h5")
    assert fault is not None
    assert "They seem swapped" in fault


def test_networks_of_other_layers_have_other_weights() -> None:
    first, second = classifier("Sequential with batch normalization"), classifier("ResNet")
    assert pair_fault(*from_two_files(first, second), "b.h5", "repaired.h5") is None
