"""ytf-export from the command line."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ytf_torch.commands.export import app
from ytf_torch.defences.repairs.pruning import pruned_checkpoint
from ytf_torch.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


def export(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def repaired_file(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    path = tmp_path / "repaired.safetensors"
    save_checkpoint(pruned_checkpoint(checkpoint, "conv_3", "pool_3", [0, 1, 2]), path)
    return path


def test_the_verdict_is_printed_and_in_json(tmp_path: Path, keras_file: Path) -> None:
    target, verdict = tmp_path / "net.safetensors", tmp_path / "verdict.json"
    result = export(keras_file, "-o", target, "--json", verdict, "--pixel-scale", "1/255")
    assert result.exit_code == 0, result.output
    assert "64 of 64 argmax agree" in result.output
    assert f"Wrote {target}" in result.output
    record = json.loads(verdict.read_text())
    assert (record["held"], record["output"], record["weights_equal"]) == (True, str(target), True)
    assert record["checks"][0]["agreeing"] == record["checks"][0]["images"] == 64
    assert load_checkpoint(target).provenance.pixel_scale == 1 / 255


def test_compact_says_what_it_spares(tmp_path: Path, repaired_file: Path) -> None:
    target, verdict = tmp_path / "compact.safetensors", tmp_path / "verdict.json"
    result = export(repaired_file, "-o", target, "--compact", "--json", verdict)
    assert result.exit_code == 0, result.output
    assert "parameters" in result.output
    (found,) = json.loads(verdict.read_text())["compact"]
    assert found["after"]["parameters"] < found["before"]["parameters"]
    assert found["after"]["multiply_adds"] < found["before"]["multiply_adds"]
    assert found["agreeing"] == found["images"]
    assert load_checkpoint(target).model.convolution("conv_3").out_channels == 3


def test_goodnet_as_one_keras_model(tmp_path: Path, keras_file: Path, repaired_file: Path) -> None:
    target = tmp_path / "goodnet.h5"
    result = export(keras_file, "-o", target, "--goodnet", repaired_file)
    assert result.exit_code == 0, result.output
    assert "bit for bit" in result.output
    assert "64 of 64 argmax agree" in result.output
    assert target.exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["-o", "net.txt"], ["net.txt", ".onnx"]),
        (["-o", "no/such/folder/net.h5"], ["cannot be written"]),
        (["-o", "{model}"], ["given twice"]),
        (["-o", "net.h5", "--goodnet", "{model}"], ["holds the same weights"]),
    ],
)
def test_errors_are_one_clear_line_and_leave_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keras_file: Path,
    arguments: list[str],
    parts: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    result = export(keras_file, *(word.format(model=keras_file) for word in arguments))
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr
    assert set(tmp_path.iterdir()) == before


def test_every_command_tells_the_version() -> None:
    result = export("--version")
    assert result.exit_code == 0
    assert result.stdout.split() == ["ytf-torch", version("ytf-torch")]
