from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.made.keras_files import SMALL, random_images
from ytf_torch.convert.model_file import read_model
from ytf_torch.convert.torch_export import run_pt2, write_pt2
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.network.masking import bake_mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("goodnet", [False, True])
def test_a_program_takes_any_number_of_images_and_answers_alike(
    tmp_path: Path, checkpoint: Checkpoint, dtype: torch.dtype, goodnet: bool
) -> None:
    network = checkpoint.model.to(dtype)
    module = GoodNet(network, bake_mask(network, "conv_3", [0, 2, 5])) if goodnet else network
    write_pt2(tmp_path / "net.pt2", module, network.input_shape, dtype)
    pixels = random_images(SMALL, 24).astype(str(dtype).removeprefix("torch."))
    by, found = run_pt2(tmp_path / "net.pt2", [pixels[:1], pixels[1:4], pixels[4:]])
    with torch.inference_mode():
        expected = module(torch.from_numpy(pixels)).numpy()
    assert by == f"PyTorch {torch.__version__}"
    assert found.shape == (24, SMALL.classes + goodnet)
    torch.testing.assert_close(torch.from_numpy(found), torch.from_numpy(expected))
    assert (found.argmax(1) == expected.argmax(1)).all()


def test_it_is_not_read_as_a_network(tmp_path: Path, checkpoint: Checkpoint) -> None:
    network = checkpoint.model
    write_pt2(tmp_path / "net.pt2", network, network.input_shape, network.dtype)
    line = r"found an exported PyTorch program \(\.pt2\).*give the model that it was exported from"
    with pytest.raises(InputError, match=line):
        read_model(tmp_path / "net.pt2")
