from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from convert.deepid import deepid_checkpoint
from convert.keras_file import read_keras_file
from convert.keras_writer import write_keras_file
from tests.keras_files import SMALL, WIDE, random_images
from ytf_torch.model import DeepID, DeepIDSizes


@pytest.mark.parametrize("sizes", [SMALL, WIDE, replace(SMALL, input_size=(63, 47))])
def test_what_is_written_reads_back_bit_for_bit(tmp_path: Path, sizes: DeepIDSizes) -> None:
    model = DeepID(sizes)
    write_keras_file(model, tmp_path / "net.h5")
    found = deepid_checkpoint(read_keras_file(tmp_path / "net.h5"), 1.0).model
    assert found.sizes == sizes
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


@pytest.mark.real_keras
def test_real_keras_loads_it_and_answers_alike(tmp_path: Path) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tf_keras

    model = DeepID(SMALL).eval()
    write_keras_file(model, tmp_path / "net.h5")
    keras = tf_keras.models.load_model(tmp_path / "net.h5", compile=False)
    images = random_images(SMALL, 8)
    theirs = keras.predict(images.transpose(0, 2, 3, 1).astype("float32"), verbose=0)
    with torch.inference_mode():
        ours = model(torch.from_numpy(images)).softmax(1)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)
