"""Files of one network, written by many versions of real Keras and shipped with the tests."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, random_images, random_weights
from tests.made.real_keras import real_keras
from ytf_torch.convert import read_keras_model
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.convert.keras.keras_writer import keras_arrays
from ytf_torch.convert.parity import Reference, compare_logits
from ytf_torch.errors import InputError

GOLDEN = Path(__file__).parents[2] / "golden"
VERSIONS = ("2.13.1", "2.14.0", "2.15.0", "3.0.5", "3.3.3", "3.6.0", "3.15.1")
SUFFIXES = (".h5", ".keras", ".weights.h5", "-crossed.weights.h5")
WRAPPED = [
    f"{version}-wrapped.{kind}"
    for version in ("2.13.1", "2.15.0", "3.15.1")
    for kind in ("h5", "keras")
]
PRUNED = {"pruned.h5": 1, "pruned.keras": 1, "pruned-throughout.keras": 7}
FILES = [*(f"{version}{suffix}" for version in VERSIONS for suffix in SUFFIXES), *WRAPPED]


def test_every_file_that_ships_is_tested() -> None:
    shipped = {path.name for path in (GOLDEN / "keras").iterdir()}
    answers = {f"{path.partition('.')[0]}.npz" for path in PRUNED}
    assert shipped == {*FILES, *PRUNED, *answers, "unmasked.h5", "unmasked.keras"}


@pytest.mark.parametrize("name", FILES)
def test_every_version_s_files_give_the_weights_bit_for_bit(name: str) -> None:
    found = keras_arrays(read_keras_model(GOLDEN / "keras" / name, 1.0).model)
    for layer, (kernel, bias) in random_weights(SMALL).items():
        assert found[layer]["kernel"].tobytes() == kernel.tobytes(), layer
        assert found[layer]["bias"].tobytes() == bias.tobytes(), layer


@pytest.mark.parametrize("name", FILES)
def test_every_version_s_files_answer_as_keras_does(name: str) -> None:
    logits = np.load(GOLDEN / "small.npz")["logits"]
    reference = Reference(random_images(SMALL, len(logits)), logits, 1.0)
    assert compare_logits(read_keras_model(GOLDEN / "keras" / name, 1.0).model, reference).held


@pytest.mark.real_keras
@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@pytest.mark.parametrize("ending", ["h5", "keras", "weights.h5"])
def test_what_the_keras_that_is_here_writes_is_read(
    tmp_path: Path, library: str, ending: str
) -> None:
    model = real_keras(library).models.load_model(GOLDEN / "keras" / "2.15.0.h5", compile=False)
    path = tmp_path / f"net.{ending}"
    (model.save_weights if ending == "weights.h5" else model.save)(str(path))
    found = keras_arrays(read_keras_model(path, 1.0).model)
    for layer, (kernel, bias) in random_weights(SMALL).items():
        assert found[layer]["kernel"].tobytes() == kernel.tobytes(), layer
        assert found[layer]["bias"].tobytes() == bias.tobytes(), layer


@pytest.mark.parametrize("version", VERSIONS)
def test_full_models_tell_the_version_that_wrote_them(version: str) -> None:
    for name in (f"{version}.h5", f"{version}.keras"):
        assert read_keras_file(GOLDEN / "keras" / name).keras_version == version
    assert read_keras_file(GOLDEN / "keras" / f"{version}.weights.h5").keras_version == "unknown"


@pytest.mark.parametrize("name", PRUNED)
def test_pruning_wrappers_are_taken_off_where_their_masks_have_been_applied(name: str) -> None:
    path = GOLDEN / "keras" / name
    model = read_keras_model(path, 1.0).model
    halved = [
        weight
        for weight in model.parameters()
        if weight.ndim > 1 and 0.48 < (weight == 0).float().mean() <= 0.5
    ]
    assert len(halved) == PRUNED[name]
    expected = np.load(path.with_suffix(".npz"))["probabilities"]
    with torch.inference_mode():
        found = model(torch.from_numpy(random_images(SMALL, len(expected)))).softmax(1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "place"),
    [("unmasked.h5", "model_weights/conv_3"), ("unmasked.keras", "/prune_low_magnitude")],
)
def test_a_pruning_wrapper_that_would_mask_more_is_refused_with_the_cure(
    name: str, place: str
) -> None:
    with pytest.raises(InputError, match=rf"{place}: a PruneLowMagnitude wrapper.*strip_pruning"):
        read_keras_model(GOLDEN / "keras" / name, 1.0)


def changed_wrapper(path: Path, change: Callable[[h5py.Group], object]) -> Path:
    """A copy of pruned.keras with a change in its wrapper's group."""
    with zipfile.ZipFile(GOLDEN / "keras" / "pruned.keras") as source:
        members = {name: source.read(name) for name in source.namelist()}
    content = io.BytesIO(members["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        change(file["_layer_checkpoint_dependencies/prune_low_magnitude"])
    members["model.weights.h5"] = content.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return path


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda wrapper: wrapper["vars/0"].write_direct(np.ones((3, 3, 4, 6), "f4")),
            "a copy of the kernel",
        ),
        (lambda wrapper: wrapper.pop("layer"), "layer"),
        (lambda wrapper: wrapper["vars"].pop("1"), "vars"),
        (lambda wrapper: wrapper["layer/vars"].pop("1"), r"missing conv_3 \(bias\)"),
        (lambda wrapper: wrapper.move("layer/vars", "elsewhere"), "layer"),
        (
            lambda wrapper: wrapper.parent.move(wrapper.name, "conv2d_3"),
            "conv2d_3/vars/3",
        ),
        (lambda wrapper: wrapper.copy(wrapper, wrapper.parent, "prune_low_magnitude_1"), "found 2"),
    ],
)
def test_a_pruning_wrapper_that_holds_something_else_is_refused(
    tmp_path: Path, change: Callable[[h5py.Group], object], line: str
) -> None:
    with pytest.raises(InputError, match=line):
        read_keras_model(changed_wrapper(tmp_path / "net.keras", change), 1.0)
