"""The pixel scale in Keras files that this package writes."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import h5py
import pytest

from tests.made.keras_files import SMALL
from ytf_torch.convert import read_keras_model
from ytf_torch.convert.keras.keras_file import recorded_in
from ytf_torch.convert.keras.keras_writer import (
    write_keras_archive,
    write_keras_h5,
    write_keras_weights,
)
from ytf_torch.convert.model_file import read_model, tells_pixel_scale
from ytf_torch.errors import InputError
from ytf_torch.network.deepid import deepid
from ytf_torch.run.pair import open_network, open_pair

WRITERS = {
    "net.h5": write_keras_h5,
    "net.weights.h5": write_keras_weights,
    "net.keras": write_keras_archive,
}
EVERY = pytest.mark.parametrize("name", WRITERS)


@EVERY
@pytest.mark.parametrize("scale", [1.0, 1 / 255, 0.0123])
def test_it_is_read_back_exactly(tmp_path: Path, name: str, scale: float) -> None:
    path = tmp_path / name
    WRITERS[name](path, deepid(SMALL, scale).fresh())
    assert tells_pixel_scale(path)
    assert read_model(path).provenance.pixel_scale == scale
    assert read_model(path, scale).model.pixel_scale == scale
    opened = open_network(path)
    assert (opened.scale_from, opened.badnet.provenance.pixel_scale) == ("file", scale)
    assert opened.doubts == open_network(path, scale).doubts == ()


@EVERY
def test_another_one_is_refused_naming_both(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path, deepid(SMALL, 1 / 255).fresh())
    for read in (read_model, read_keras_model, open_network):
        with pytest.raises(InputError, match=f"{name}: expected pixel scale 1, .*found 1/255"):
            read(path, 1.0)


def test_a_file_that_tells_none_takes_that_of_the_other(tmp_path: Path, keras_file: Path) -> None:
    path = tmp_path / "net.h5"
    write_keras_h5(path, deepid(SMALL, 1 / 255).fresh())
    pair = open_pair(keras_file, path, any_pair=True)
    assert pair.badnet.provenance.pixel_scale == 1 / 255
    assert not tells_pixel_scale(keras_file)


def with_text(path: Path, text: str) -> None:
    """Change the pixel scale that a file records."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["pixel_scale"] = text
        return
    with ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(members["metadata.json"]) | {"pixel_scale": text}
    with ZipFile(path, "w") as archive:
        for name, content in members.items():
            is_metadata = name == "metadata.json"
            archive.writestr(name, json.dumps(metadata) if is_metadata else content)


@EVERY
@pytest.mark.parametrize("text", ["1/0", "nan", "-1", "255", "x" * 1000, ""])
def test_what_is_no_pixel_scale_is_refused(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    WRITERS[name](path, deepid(SMALL).fresh())
    with_text(path, text)
    assert recorded_in(path) is None
    with pytest.raises(InputError, match=f"{name}.*pixel_scale: expected a pixel scale"):
        read_model(path)
