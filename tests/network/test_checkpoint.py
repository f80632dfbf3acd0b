from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import ROOT
from tests.made.keras_files import SMALL, random_images, random_weights
from ytf_torch.defences.base import Candidate
from ytf_torch.defences.repairs.pruning import pruned_checkpoint
from ytf_torch.errors import InputError
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ytf_torch.network.provenance import BakedMask

GOLDEN = ROOT / "tests" / "golden"


def header(path: Path) -> dict:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length])


def test_a_saved_model_is_the_model(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(checkpoint, path)
    found = load_checkpoint(path)
    assert found.provenance == checkpoint.provenance
    pixels = torch.from_numpy(random_images(SMALL, 4))
    with torch.inference_mode():
        assert torch.equal(found.model(pixels), checkpoint.model(pixels))


def test_metadata_is_readable_by_anyone(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "net.safetensors"
    save_checkpoint(checkpoint, path)
    metadata = header(path)["__metadata__"]
    assert metadata["format"] == "ytf-torch/3"
    names = [layer["name"] for layer in json.loads(metadata["graph"])]
    assert names == [layer.name for layer in checkpoint.model.graph.layers]
    assert json.loads(metadata["pixel_scale"]) == 1.0
    assert json.loads(metadata["input_shape"]) == [3, 55, 47]
    assert json.loads(metadata["classes"]) == 7
    assert json.loads(metadata["source_file"]) == "bd_net.h5"
    assert len(json.loads(metadata["source_sha256"])) == 64
    assert json.loads(metadata["keras_version"]) == "2.14.0"
    assert json.loads(metadata["mask"]) is None
    assert json.loads(metadata["history"]) == ["converted from bd_net.h5, written by Keras 2.14.0"]


def test_equal_models_are_equal_files(tmp_path: Path, checkpoint: Checkpoint) -> None:
    for name in "ab":
        save_checkpoint(checkpoint, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_pruned_model_has_its_mask_baked_in_and_on_record(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    path = tmp_path / "pruned.safetensors"
    save_checkpoint(pruned_checkpoint(checkpoint, "conv_3", "pool_3", (4, 1)), path)
    found = load_checkpoint(path)
    assert found.provenance.mask is not None
    assert found.provenance.mask.channels == (4, 1)
    assert (found.provenance.mask.layer, found.provenance.mask.rank_at) == ("conv_3", "pool_3")
    assert not found.model.convolution("conv_3").weight[[1, 4]].any()
    assert not found.model.convolution("conv_3").bias[[1, 4]].any()
    assert found.model.convolution("conv_3").weight[[0, 2, 3, 5]].any()


def test_a_history_tells_what_was_done_step_by_step(tmp_path: Path, checkpoint: Checkpoint) -> None:
    pruned = pruned_checkpoint(checkpoint, "conv_3", "pool_3", (4,))
    tuned = Candidate("tuned", pruned.model, ("fine-tuned on 40 clean faces",)).checkpoint(pruned)
    save_checkpoint(tuned, tmp_path / "tuned.safetensors")
    assert load_checkpoint(tmp_path / "tuned.safetensors").provenance.history == (
        "converted from bd_net.h5, written by Keras 2.14.0",
        "pruned 1 channel of conv_3, ranked at pool_3",
        "fine-tuned on 40 clean faces",
    )


@pytest.mark.parametrize("version", [1, 2, 3])
def test_files_of_every_version_load_for_ever(version: int) -> None:
    found = load_checkpoint(GOLDEN / f"checkpoint_{version}.safetensors")
    expected = random_weights(SMALL)["conv_1"][0].transpose(3, 2, 0, 1)
    assert torch.equal(found.model.state_dict()["conv_1.weight"], torch.from_numpy(expected))
    assert (found.model.classes, found.model.pixel_scale) == (SMALL.classes, 1 / 255)
    provenance = found.provenance
    assert (provenance.source_file, provenance.converter_version) == ("bd_net.h5", "0.1.0")
    assert provenance.mask == BakedMask("conv_3", "pool_3", (4, 1))
    assert not found.model.state_dict()["conv_3.weight"][[1, 4]].any()
    assert provenance.history == (
        "converted from bd_net.h5, written by Keras 2.14.0",
        "pruned 2 channels of conv_3, ranked at pool_3",
    )


LONG_MASK = {"layer": "conv_3", "rank_at": "p" * 256, "channels": [1]}


@pytest.mark.parametrize("steps", [98, 99, 100])
@pytest.mark.parametrize("more", [1, 2, 5])
def test_whatever_is_done_to_a_network_reads_back(
    tmp_path: Path, checkpoint: Checkpoint, steps: int, more: int
) -> None:
    first = ("converted", *(f"step {number}" for number in range(1, steps)))
    old = Checkpoint(checkpoint.model, replace(checkpoint.provenance, history=first))
    done = [f"repair {number} \x1b[31m{'é' * 300}" for number in range(more)]
    save_checkpoint(Checkpoint(old.model, old.provenance.then(*done)), tmp_path / "new.safetensors")
    history = load_checkpoint(tmp_path / "new.safetensors").provenance.history
    assert len(history) == min(steps + more, 100)
    assert history[0] == "converted"
    assert [step[:12] for step in history[-more:]] == [f"repair {n} \\x1" for n in range(more)]
    assert (history[1] == "(earlier steps are left out here)") == (steps + more > 100)


def test_the_longest_name_that_a_mask_can_have_reads_back(
    tmp_path: Path, checkpoint: Checkpoint
) -> None:
    provenance = checkpoint.provenance.masked("c" * 255, "p" * 255, (1,))
    save_checkpoint(Checkpoint(checkpoint.model, provenance), tmp_path / "net.safetensors")
    assert load_checkpoint(tmp_path / "net.safetensors").provenance == provenance


@pytest.fixture
def saved(tmp_path: Path, checkpoint: Checkpoint) -> tuple[Path, dict, dict]:
    """A file, and the tensors and metadata in it."""
    path = tmp_path / "net.safetensors"
    save_checkpoint(checkpoint, path)
    state = checkpoint.model.state_dict()
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    return path, tensors, header(path)["__metadata__"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "pt"}, "metadata of format ytf-torch/3"),
        ({"pixel_scale": "0"}, "pixel_scale"),
        ({"pixel_scale": "{"}, "pixel_scale"),
        ({"classes": "8"}, "expected 8 classes"),
        ({"input_shape": "[3, 71, 47]"}, "expected images of .*71, 47"),
        ({"input_shape": "[3]"}, "input_shape"),
        ({"mask": '{"layer": 3}'}, "mask"),
        (
            {"format": "ytf-torch/2", "network": "VGGFace"},
            "metadata network: expected DeepID, found 'VGGFace'",
        ),
        ({"graph": "{"}, "metadata graph: expected JSON"),
        ({"graph": "[]"}, "metadata graph: expected a list of at most 1,000 layers"),
        ({"graph": '[{"name": "a"}, {}]'}, "metadata graph: expected a layer's name"),
        (
            {"mask": '{"layer": "\\u001b[31m", "rank_at": "pool_3", "channels": []}'},
            r"mask\.layer: expected .* printable",
        ),
        (
            {"format": "ytf-torch/1", "mask": json.dumps(LONG_MASK)},
            r"mask\.rank_at: expected at most 255",
        ),
        ({"history": '"once"'}, "history"),
        ({"history": '["pruned", "\\u001b[31m"]'}, r"history\[1\]: expected .* printable"),
        ({"history": json.dumps(["again"] * 101)}, "at most 100 steps, found 101"),
    ],
)
def test_metadata_that_does_not_fit_is_named(saved, change: dict, message: str) -> None:
    path, tensors, metadata = saved
    save_file(tensors, path, metadata | change)
    with pytest.raises(InputError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv_1.bias": None}, r"missing conv_1\.bias"),
        ({"extra": torch.zeros(1)}, "unexpected extra"),
        ({"fc_1.bias": torch.zeros(10)}, r"fc_1\.bias: expected \(9,\)"),
        ({"fc_1.bias": torch.full((9,), torch.nan)}, "NaN"),
        ({"fc_1.bias": torch.zeros(9, dtype=torch.float64)}, "all float32 or all float64"),
    ],
)
def test_tensors_that_do_not_fit_are_named(saved, change: dict, message: str) -> None:
    path, tensors, metadata = saved
    tensors = {name: tensor for name, tensor in (tensors | change).items() if tensor is not None}
    save_file(tensors, path, metadata)
    with pytest.raises(InputError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 100, b"{}", b"\x80\x04K\x01."])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="neither a safetensors file nor a Keras file"):
        load_checkpoint(path)


def test_a_file_of_a_known_kind_is_named_with_what_helps(tmp_path: Path) -> None:
    path = tmp_path / "bd_net.h5"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n")
    with pytest.raises(InputError, match=r"\(a Git LFS pointer.*git lfs pull"):
        load_checkpoint(path)
