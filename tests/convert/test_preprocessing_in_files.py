"""Every file format that this package writes records the network's preprocessing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import torch

from tests.convert.test_recorded_scale import with_text
from tests.made.badnet import made_badnet
from tests.made.preprocessed import PREPROCESSINGS, reading_as
from ytf_torch.convert.export import Subject, export
from ytf_torch.convert.keras.keras_oracle import compare_with_keras
from ytf_torch.convert.keras.keras_writer import write_keras_archive, write_keras_h5
from ytf_torch.convert.model_file import read_model
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.masking import bake_mask
from ytf_torch.network.pixel_scale import parse_pixel_scale
from ytf_torch.network.preprocessing import KERAS_MODES, RAW, Preprocessing
from ytf_torch.run.pair import open_network, open_pair

EVERY = pytest.mark.parametrize("name", PREPROCESSINGS)
READ_BY_US = [".h5", ".weights.h5", ".keras", ".safetensors"]


def checkpoint_of(checkpoint: Checkpoint, preprocessing: Preprocessing) -> Checkpoint:
    network = reading_as(checkpoint.model, preprocessing)
    return Checkpoint(network, replace(checkpoint.provenance, preprocessing=preprocessing))


@EVERY
@pytest.mark.parametrize("ending", READ_BY_US)
def test_what_is_read_back_reads_pixels_alike(
    tmp_path: Path, checkpoint: Checkpoint, ending: str, name: str
) -> None:
    written = checkpoint_of(checkpoint, PREPROCESSINGS[name])
    path = tmp_path / f"net{ending}"
    assert export(Subject(written.model, written), path).held
    again = open_network(path)
    assert again.scale_from == "file"
    assert again.badnet.provenance.preprocessing == PREPROCESSINGS[name]
    assert again.badnet.model.pixel_preprocessing == PREPROCESSINGS[name]
    assert read_model(path, PREPROCESSINGS[name]).model.pixel_preprocessing == PREPROCESSINGS[name]


@EVERY
@pytest.mark.parametrize("ending", [".onnx", pytest.param(".pt2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_others_run_takes_pixels_as_they_are(
    tmp_path: Path, checkpoint: Checkpoint, ending: str, name: str, dtype: torch.dtype
) -> None:
    if ending == ".onnx":
        pytest.importorskip("onnx")
    written = checkpoint_of(checkpoint, PREPROCESSINGS[name])
    found = export(Subject(written.model.to(dtype), written), tmp_path / f"net{ending}")
    assert found.failures == ()
    (check,) = found.checks
    assert check.agreeing == check.images == 64


@pytest.mark.parametrize("name", KERAS_MODES)
@pytest.mark.parametrize("ending", [".h5", ".keras", ".onnx"])
def test_a_goodnet_reads_what_b_reads(
    tmp_path: Path, checkpoint: Checkpoint, ending: str, name: str
) -> None:
    if ending == ".onnx":
        pytest.importorskip("onnx")
    badnet = checkpoint_of(checkpoint, KERAS_MODES[name])
    masked = bake_mask(badnet.model, "conv_3", [0, 1])
    repaired = Checkpoint(masked, badnet.provenance)
    subject = Subject(GoodNet(badnet.model, masked), badnet, repaired)
    found = export(subject, tmp_path / f"goodnet{ending}")
    assert found.failures == ()
    assert [check.agreeing for check in found.checks] == [64]


@pytest.mark.parametrize("ending", READ_BY_US)
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (1.0, "expected pixel scale 1, as asked for, found caffe.*Leave `pixel_scale` out"),
        (
            KERAS_MODES["tf"],
            "expected preprocessing tf, as asked for, found caffe.*Leave `preprocessing` out",
        ),
    ],
)
def test_another_one_is_refused_naming_both(
    tmp_path: Path, checkpoint: Checkpoint, ending: str, asked: Preprocessing, message: str
) -> None:
    written = checkpoint_of(checkpoint, KERAS_MODES["caffe"])
    path = tmp_path / f"net{ending}"
    assert export(Subject(written.model, written), path).held
    with pytest.raises(InputError, match=message):
        read_model(path, asked)
    with pytest.raises(InputError, match=message):
        open_network(path, asked)


def test_b_and_its_copy_read_alike(
    tmp_path: Path, checkpoint: Checkpoint, keras_file: Path
) -> None:
    """A Keras file without a record gets the preprocessing of the pair; another record is
    refused."""
    written = checkpoint_of(checkpoint, KERAS_MODES["caffe"])
    path = tmp_path / "net.h5"
    assert export(Subject(written.model, written), path).held
    pair = open_pair(keras_file, path, any_pair=True)
    assert pair.badnet.provenance.preprocessing == KERAS_MODES["caffe"]
    raw = checkpoint_of(checkpoint, RAW)
    with pytest.raises(InputError, match=r"expected pixel scale 1, as .* has, found caffe"):
        open_pair(raw, path, any_pair=True)


def test_older_versions_refuse_it(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """They parse the attribute as a pixel scale, and take a file without one for one of Keras."""
    path = tmp_path / "net.h5"
    write_keras_h5(path, checkpoint_of(checkpoint, KERAS_MODES["caffe"]).model)
    with h5py.File(path) as file:
        told = file.attrs["pixel_scale"]
    with pytest.raises(InputError, match="a number such as 1 or 1/255, found 'caffe'"):
        parse_pixel_scale(told)


@pytest.mark.parametrize("text", ["imagenet", "{}", '{"scale": 0}', '{"scale": [1, 2]}'])
def test_what_is_no_preprocessing_is_refused(
    tmp_path: Path, checkpoint: Checkpoint, text: str
) -> None:
    for write, name in ((write_keras_h5, "net.h5"), (write_keras_archive, "net.keras")):
        write(tmp_path / name, checkpoint.model)
        with_text(tmp_path / name, text)
        with pytest.raises(InputError, match=f"{name}.*: expected (a pixel scale|one scale)"):
            read_model(tmp_path / name)


@pytest.mark.real_keras
@pytest.mark.usefixtures("keras_once")
@EVERY
def test_real_keras_gets_what_the_first_layer_reads(tmp_path: Path, name: str) -> None:
    network = reading_as(made_badnet().network, PREPROCESSINGS[name])
    write_keras_h5(tmp_path / "net.h5", network)
    parity = compare_with_keras(network, tmp_path / "net.h5")
    assert parity.failures == ()
