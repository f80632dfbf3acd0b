"""Files that real Keras of many versions wrote, shipped with the tests: all hold one network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.made.keras_files import SMALL, random_images, random_weights
from tests.made.real_keras import real_keras
from ytf_torch.convert import read_keras_model
from ytf_torch.convert.keras_file import read_keras_file
from ytf_torch.convert.keras_writer import keras_arrays
from ytf_torch.convert.parity import Reference, compare_logits
from ytf_torch.errors import InputError

GOLDEN = Path(__file__).parent.parent / "golden"
VERSIONS = ("2.13.1", "2.14.0", "2.15.0", "3.0.5", "3.3.3", "3.6.0", "3.15.1")
SUFFIXES = (".h5", ".keras", ".weights.h5", "-crossed.weights.h5")
WRAPPED = [
    f"{version}-wrapped.{kind}"
    for version in ("2.13.1", "2.15.0", "3.15.1")
    for kind in ("h5", "keras")
]
FILES = [*(f"{version}{suffix}" for version in VERSIONS for suffix in SUFFIXES), *WRAPPED]


def test_every_file_that_ships_is_tested() -> None:
    shipped = {path.name for path in (GOLDEN / "keras").iterdir()}
    assert shipped == {*FILES, "pruned.h5", "pruned.npz", "unmasked.h5"}


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


def test_a_pruning_wrapper_is_taken_off_where_its_mask_has_been_applied() -> None:
    model = read_keras_model(GOLDEN / "keras" / "pruned.h5", 1.0).model
    assert (model.convolution("conv_3").weight == 0).float().mean() == 0.5
    expected = np.load(GOLDEN / "keras" / "pruned.npz")["probabilities"]
    with torch.inference_mode():
        found = model(torch.from_numpy(random_images(SMALL, len(expected)))).softmax(1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_a_pruning_wrapper_that_would_mask_more_is_refused_with_the_cure() -> None:
    with pytest.raises(InputError, match=r"conv_3: a PruneLowMagnitude wrapper.*strip_pruning"):
        read_keras_model(GOLDEN / "keras" / "unmasked.h5", 1.0)
