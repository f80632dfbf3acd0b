from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ytf_torch.convert.endings import ending_of
from ytf_torch.convert.export import Subject, check_batches, compare, export
from ytf_torch.convert.model_file import read_model
from ytf_torch.defences.detectors.goodnet import GoodNet
from ytf_torch.defences.repairs.pruning import pruned_checkpoint
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import Checkpoint

READ_BY_US = [".h5", ".weights.h5", ".keras", ".safetensors"]


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("net.h5", ".h5"),
        ("net.weights.h5", ".weights.h5"),
        ("NET.KERAS", ".keras"),
        ("net.onnx", ".onnx"),
        ("a.h5.pt2", ".pt2"),
        ("net.safetensors", ".safetensors"),
    ],
)
def test_the_ending_names_the_format(name: str, ending: str) -> None:
    assert ending_of(Path(name), goodnet=False) == ending


@pytest.mark.parametrize("name", ["net", "net.pth", "net.tflite"])
def test_an_ending_that_names_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"\.h5, \.weights\.h5, \.keras, \.onnx, \.pt2"):
        ending_of(Path(name), goodnet=False)


@pytest.mark.parametrize("name", ["net.weights.h5", "net.safetensors"])
def test_a_goodnet_needs_a_format_that_holds_a_graph(name: str) -> None:
    with pytest.raises(InputError, match="expected GoodNet as"):
        ending_of(Path(name), goodnet=True)


@pytest.mark.parametrize("ending", READ_BY_US)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_read_back_is_the_network_bit_for_bit(
    tmp_path: Path, checkpoint: Checkpoint, ending: str, dtype: torch.dtype
) -> None:
    network = checkpoint.model.to(dtype)
    found = export(Subject(network, checkpoint), tmp_path / f"net{ending}")
    assert found.held
    assert found.weights_equal is True
    assert [check.agreeing for check in found.checks] == [64]
    again = read_model(tmp_path / f"net{ending}", 1.0).model
    assert again.dtype == dtype
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


@pytest.mark.parametrize("ending", [*READ_BY_US, ".onnx"])
def test_where_a_check_fails_what_was_there_stays(
    tmp_path: Path, checkpoint: Checkpoint, ending: str
) -> None:
    """The file contains a pruned network instead of the exported one."""
    if ending == ".onnx":
        pytest.importorskip("onnx")
    other = pruned_checkpoint(checkpoint, "conv_3", "pool_3", [0, 1, 2])
    path = tmp_path / f"net{ending}"
    path.write_bytes(b"what was there before")
    others = set(tmp_path.iterdir())
    wrong = Checkpoint(other.model, checkpoint.provenance)
    found = export(Subject(checkpoint.model, wrong, None), path)
    assert not found.held
    assert any("argmax differs" in line for line in found.failures)
    assert set(tmp_path.iterdir()) == others
    assert path.read_bytes() == b"what was there before"


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_goodnet_in_keras_is_read_back_and_run(
    tmp_path: Path, checkpoint: Checkpoint, ending: str
) -> None:
    repaired = pruned_checkpoint(checkpoint, "conv_3", "pool_3", [0, 1, 2])
    both = GoodNet(checkpoint.model, repaired.model)
    found = export(Subject(both, checkpoint, repaired), tmp_path / f"goodnet{ending}")
    assert found.held
    assert found.weights_equal is True
    assert [(check.images, check.agreeing) for check in found.checks] == [(64, 64)]
    assert (tmp_path / f"goodnet{ending}").exists()


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_a_goodnet_in_keras_that_answers_otherwise_is_not_left_there(
    tmp_path: Path, checkpoint: Checkpoint, ending: str
) -> None:
    """The file contains another B′ than the exported GoodNet."""
    repaired = pruned_checkpoint(checkpoint, "conv_3", "pool_3", [0, 1, 2])
    flagging_nothing = GoodNet(checkpoint.model, checkpoint.model)
    subject = Subject(flagging_nothing, checkpoint, repaired)
    path = tmp_path / f"goodnet{ending}"
    found = export(subject, path)
    assert any("argmax differs" in line for line in found.failures)
    assert not path.exists()


@pytest.mark.real_keras
@pytest.mark.usefixtures("keras_once")
@pytest.mark.parametrize(
    ("ending", "goodnet"),
    [(".h5", False), (".h5", True), (".keras", False), (".keras", True), (".weights.h5", False)],
)
def test_real_keras_runs_what_it_loads(
    tmp_path: Path, checkpoint: Checkpoint, ending: str, goodnet: bool
) -> None:
    repaired = pruned_checkpoint(checkpoint, "conv_3", "pool_3", [0, 1, 2]) if goodnet else None
    module = checkpoint.model if repaired is None else GoodNet(checkpoint.model, repaired.model)
    subject = Subject(module, checkpoint, repaired)
    found = export(subject, tmp_path / f"net{ending}", against_keras=True)
    assert found.held, found.failures
    assert {check.by.split()[0] for check in found.checks} >= {"tf_keras"}


def test_keras_is_not_asked_about_other_formats(tmp_path: Path, checkpoint: Checkpoint) -> None:
    with pytest.raises(InputError, match=r"Keras reads no \.safetensors file"):
        export(
            Subject(checkpoint.model, checkpoint),
            tmp_path / "net.safetensors",
            against_keras=True,
        )
    assert not (tmp_path / "net.safetensors").exists()


def test_images_that_networks_are_compared_on(checkpoint: Checkpoint) -> None:
    batches = check_batches(checkpoint.model)
    assert [len(batch) for batch in batches] == [1, 7, 16, 16, 16, 8]
    pixels = np.concatenate(batches)
    assert (pixels.min(), pixels.max()) == (0, 255)
    other = pruned_checkpoint(checkpoint, "conv_3", "pool_3", [0, 1, 2]).model
    assert compare("other", checkpoint.model, other).failures
    assert not compare("itself", checkpoint.model, checkpoint.model).failures
