"""The published networks, written as Keras files: bit-identical weights, loaded by real Keras."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.convert.test_parity import ZOO
from tests.made.real_keras import real_keras
from ytf_torch.convert import read_keras_model
from ytf_torch.convert.keras.keras_file import read_keras_file
from ytf_torch.convert.keras.keras_graph import keras_checkpoint
from ytf_torch.convert.keras.keras_writer import (
    write_keras_archive,
    write_keras_h5,
    write_keras_weights,
)
from ytf_torch.network.checkpoint import load_checkpoint, save_checkpoint
from ytf_torch.network.masking import bake_mask
from ytf_torch.network.module import Network

pytestmark = pytest.mark.shared_files
PUBLISHED = {45: "lab3_pruned_45_keras240", 52: "lab3_pruned_52_keras270"}


def stored(path: Path) -> dict[str, bytes]:
    """Layer/part → bytes of every weight in a Keras HDF5 file, read with h5py only."""
    found: dict[str, bytes] = {}
    with h5py.File(path) as file:
        root = file.get("model_weights", file)
        for layer in root:
            root[layer].visititems(
                lambda name, node: (
                    found.update({name: node.dtype.str.encode() + node[()].tobytes()})
                    if isinstance(node, h5py.Dataset)
                    else None
                )
            )
    return found


@pytest.mark.parametrize("name", ZOO)
def test_through_safetensors_and_back_every_weight_is_bit_equal(
    shared: Path, tmp_path: Path, name: str
) -> None:
    source = shared / ZOO[name]
    save_checkpoint(keras_checkpoint(read_keras_file(source), 1.0), tmp_path / "net.safetensors")
    write_keras_h5(tmp_path / "net.h5", load_checkpoint(tmp_path / "net.safetensors").model)
    weights = stored(tmp_path / "net.h5")
    assert len(weights) == 14
    assert weights == stored(source)


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize(
    ("file", "write"),
    [("net.keras", write_keras_archive), ("net.weights.h5", write_keras_weights)],
)
def test_keras_3_s_own_formats_keep_every_weight_too(
    shared: Path, tmp_path: Path, name: str, file: str, write: Callable[[Path, Network], None]
) -> None:
    model = read_keras_model(shared / ZOO[name], 1.0).model
    write(tmp_path / file, model)
    found = read_keras_model(tmp_path / file, 1.0).model.state_dict()
    for key, tensor in model.state_dict().items():
        assert found[key].numpy().tobytes() == tensor.numpy().tobytes(), key


def published_order(shared: Path) -> list[int]:
    record = json.loads((shared / "reference" / "lab3_published_run.json").read_text())
    return list(record["order"])


def reference_faces(shared: Path) -> np.ndarray:
    with np.load(shared / "reference" / "keras_logits" / "bd_weights.npz") as reference:
        return reference["input"].transpose(0, 2, 3, 1).astype(np.float32)


def pruned(shared: Path, channels: int) -> Network:
    """The lab's network with the first channels of the published order pruned."""
    network = keras_checkpoint(read_keras_file(shared / ZOO["bd_weights"]), 1.0).model
    return bake_mask(network, "conv_3", published_order(shared)[:channels])


@pytest.mark.parametrize("channels", PUBLISHED)
def test_the_lab_s_network_pruned_and_written_is_the_published_file(
    shared: Path, tmp_path: Path, channels: int
) -> None:
    write_keras_h5(tmp_path / "net.h5", pruned(shared, channels))
    assert stored(tmp_path / "net.h5") == stored(shared / ZOO[PUBLISHED[channels]])


@pytest.mark.parametrize("channels", PUBLISHED)
@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@pytest.mark.real_keras
def test_real_keras_loads_it_and_predicts_as_from_the_published_file(
    shared: Path, tmp_path: Path, channels: int, library: str
) -> None:
    models = real_keras(library).models
    write_keras_h5(tmp_path / "net.h5", pruned(shared, channels))
    faces = reference_faces(shared)
    ours, theirs = (
        models.load_model(path, compile=False).predict(faces, verbose=0)
        for path in (tmp_path / "net.h5", shared / ZOO[PUBLISHED[channels]])
    )
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
@pytest.mark.real_keras
def test_pruned_in_real_keras_by_48_channels_the_network_predicts_the_same(
    shared: Path, tmp_path: Path, library: str
) -> None:
    """No file with 48 pruned channels was published: Keras zeroes the rest in that with 45."""
    models = real_keras(library).models
    write_keras_h5(tmp_path / "net.h5", pruned(shared, 48))
    theirs = models.load_model(shared / ZOO[PUBLISHED[45]], compile=False)
    kernel, bias = theirs.get_layer("conv_3").get_weights()
    kernel[..., published_order(shared)[:48]], bias[published_order(shared)[:48]] = 0, 0
    theirs.get_layer("conv_3").set_weights([kernel, bias])
    ours = models.load_model(tmp_path / "net.h5", compile=False)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert mine.tobytes() == other.tobytes()
    faces = reference_faces(shared)
    np.testing.assert_array_equal(ours.predict(faces, verbose=0), theirs.predict(faces, verbose=0))
