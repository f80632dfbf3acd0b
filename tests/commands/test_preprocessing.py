"""--preprocessing, and what takes its place in files of settings and in Python."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from typer import Typer
from typer.testing import CliRunner, Result

import ytf_torch
from tests.made.badnet import made_badnet
from tests.made.preprocessed import PREPROCESSINGS, reading_as
from ytf_torch.commands.audit import app as audit_app
from ytf_torch.commands.compare import app as compare_app
from ytf_torch.commands.convert import app as convert_app
from ytf_torch.commands.detect import app as detect_app
from ytf_torch.commands.evaluate import app as evaluate_app
from ytf_torch.commands.export import app as export_app
from ytf_torch.commands.prune import app as prune_app
from ytf_torch.commands.repair import app as repair_app
from ytf_torch.commands.scan import app as scan_app
from ytf_torch.convert.keras.keras_writer import write_keras_h5
from ytf_torch.network.checkpoint import load_checkpoint
from ytf_torch.network.preprocessing import KERAS_MODES, Preprocessing

FREE = PREPROCESSINGS["all at once"]


def run(app: Typer, *arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def keras_file(path: Path, preprocessing: Preprocessing) -> Path:
    """The made BadNet reading pixels so, in a Keras file that does not tell it."""
    write_keras_h5(path, reading_as(made_badnet().network, preprocessing))
    with h5py.File(path, "r+") as file:
        del file.attrs["pixel_scale"]
    return path


@pytest.fixture
def sets(tmp_path: Path) -> list[object]:
    files = made_badnet().files(tmp_path)
    options = [(flag, file) for flag, file in files.items() if flag != "--model"]
    return [one for option in options for one in option]


def result_of(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize(("asked", "preprocessing"), [*KERAS_MODES.items(), (FREE.text, FREE)])
def test_a_run_gives_the_figures_of_the_same_network_with_a_pixel_scale(
    tmp_path: Path, sets: list[object], asked: str, preprocessing: Preprocessing
) -> None:
    scaled = keras_file(tmp_path / "scaled.h5", Preprocessing(1 / 255))
    other = keras_file(tmp_path / "other.h5", preprocessing)
    expected, found = tmp_path / "expected", tmp_path / "found"
    drops = ("--drops", 10, "--device", "cpu")
    run(prune_app, "--model", scaled, *sets, *drops, "--pixel-scale", "1/255", "--out", expected)
    done = run(prune_app, "--model", other, *sets, *drops, "--preprocessing", asked, "--out", found)
    assert done.exit_code == 0, done.output
    one, two = result_of(expected), result_of(found)
    same = ("order", "counts", "baseline", "steps", "drops", "verdict")
    assert [two[key] for key in same] == [one[key] for key in same]
    assert "pixel_scale" not in two
    assert two["preprocessing"] == two["model"]["preprocessing"]
    assert two["preprocessing"]["channel_order"] == preprocessing.channel_order
    pruned = load_checkpoint(found / "pruned_drop10.safetensors")
    assert pruned.model.pixel_preprocessing == preprocessing
    report = (found / "report.html").read_text()
    assert "<dt>preprocessing</dt>" in report
    assert "--preprocessing" in report


@pytest.mark.parametrize("preprocessing", [KERAS_MODES["caffe"], FREE])
def test_the_settings_of_a_run_ask_for_it_again(
    tmp_path: Path, sets: list[object], preprocessing: Preprocessing
) -> None:
    model = keras_file(tmp_path / "net.h5", preprocessing)
    asked = ("--preprocessing", preprocessing.text, "--drops", 10, "--device", "cpu")
    first, again = tmp_path / "first", tmp_path / "again"
    assert run(prune_app, "--model", model, *sets, *asked, "--out", first).exit_code == 0
    settings = first / "settings.toml"
    assert run(prune_app, "--config", settings, "--out", again).exit_code == 0
    assert result_of(again) == result_of(first)


def test_a_table_of_a_settings_file_asks_for_it(tmp_path: Path, sets: list[object]) -> None:
    model = keras_file(tmp_path / "net.h5", FREE)
    config = tmp_path / "run.toml"
    table = 'scale = ["1/255", 0.5, "1/58"]\noffset = [-1, 0, 2.5]\nchannel_order = "bgr"\n'
    config.write_text(f"drops = [10]\ndevice = 'cpu'\n[preprocessing]\n{table}")
    out = tmp_path / "run"
    done = run(prune_app, "--model", model, *sets, "--config", config, "--out", out)
    assert done.exit_code == 0, done.output
    assert load_checkpoint(out / "pruned_drop10.safetensors").provenance.preprocessing == FREE
    config.write_text("pixel_scale = 1\n[preprocessing]\nscale = 0.5\n")
    both = run(prune_app, "--model", model, *sets, "--config", config, "--out", tmp_path / "x")
    assert both.exit_code == 2
    assert "expected one of them, found both" in both.stderr


def test_a_network_that_was_taken_for_one_of_raw_pixels_is_noticed(
    tmp_path: Path, sets: list[object]
) -> None:
    model = keras_file(tmp_path / "net.h5", KERAS_MODES["caffe"])
    done = run(prune_app, "--model", model, *sets, "--pixel-scale", 1, "--out", tmp_path / "x")
    assert done.exit_code == 2
    assert "with the model's pixel scale 1, and 100.0 % with preprocessing caffe" in done.stderr
    assert "Give --preprocessing caffe;" in done.stderr


def test_a_conversion_says_what_the_network_reads(tmp_path: Path) -> None:
    source, target = keras_file(tmp_path / "net.h5", FREE), tmp_path / "net.safetensors"
    record = tmp_path / "net.json"
    asked = ("--preprocessing", FREE.text, "--json", record)
    done = run(convert_app, source, "-o", target, *asked)
    assert done.exit_code == 0, done.output
    assert f"preprocessing {FREE.text}" in done.stdout
    assert load_checkpoint(target).provenance.preprocessing == FREE
    told = json.loads(record.read_text())["model"]["preprocessing"]
    assert told == {"scale": [1 / 255, 0.5, 1 / 58], "offset": [-1, 0, 2.5], "channel_order": "bgr"}


def test_a_reference_of_preprocessed_images_tells_no_pixel_scale(tmp_path: Path) -> None:
    source, target = keras_file(tmp_path / "net.h5", FREE), tmp_path / "net.safetensors"
    images = made_badnet().clean[:8]
    with torch.inference_mode():
        logits = reading_as(made_badnet().network, FREE)(images).numpy()
    reference = tmp_path / "reference.npz"
    asked = ("-o", target, "--reference", reference, "--preprocessing", FREE.text)
    np.savez(reference, input=images.numpy(), logits=logits)
    done = run(convert_app, source, *asked)
    assert done.exit_code == 0, done.output
    assert "parity held" in done.stdout
    np.savez(reference, input=images.numpy(), logits=logits, pixel_scale=1.0)
    clash = run(convert_app, source, *asked)
    assert clash.exit_code == 2
    assert "as --preprocessing says, found 1.0" in clash.stderr


APPS = {
    "audit": (audit_app, ["net.h5", "--clean-valid", "valid.h5", "--out", "out"]),
    "compare": (compare_app, ["--model", "net.h5", "--clean-valid", "valid.h5", "--out", "out"]),
    "convert": (convert_app, ["net.h5"]),
    "detect": (detect_app, ["valid.h5", "--model", "net.h5", "--repaired", "net.h5"]),
    "evaluate": (evaluate_app, ["net.h5", "--clean-test", "valid.h5"]),
    "export": (export_app, ["net.h5", "-o", "net.onnx"]),
    "prune": (prune_app, ["--model", "net.h5", "--clean-valid", "valid.h5", "--out", "out"]),
    "repair": (repair_app, ["--model", "net.h5", "--clean-valid", "valid.h5", "--out", "out"]),
    "scan": (scan_app, ["--model", "net.h5", "--clean-valid", "valid.h5", "--out", "out"]),
}


@pytest.mark.parametrize("name", APPS)
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--preprocessing", "tf", "--pixel-scale", "1"], "found both"),
        (["--preprocessing", "imagenet"], "--preprocessing: expected tf, caffe, torch or"),
    ],
)
def test_every_command_takes_it_and_refuses_what_is_none(
    tmp_path: Path,
    sets: list[object],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    asked: list[str],
    message: str,
) -> None:
    keras_file(tmp_path / "net.h5", KERAS_MODES["tf"])
    monkeypatch.chdir(tmp_path)
    app, arguments = APPS[name]
    done = run(app, *arguments, *asked)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_evaluation_scan_and_export_read_the_network_so(
    tmp_path: Path, sets: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    keras_file(tmp_path / "net.h5", KERAS_MODES["caffe"])
    monkeypatch.chdir(tmp_path)
    asked = ("--preprocessing", "caffe")
    done = run(evaluate_app, "net.h5", "--clean-test", "valid.h5", *asked, "--json", "figures.json")
    assert done.exit_code == 0, done.output
    figures = json.loads(Path("figures.json").read_text())
    assert figures["clean_accuracy"] == 100
    assert figures["preprocessing"]["channel_order"] == "bgr"
    assert run(export_app, "net.h5", "-o", "net.keras", *asked).exit_code == 0
    assert run(evaluate_app, "net.keras", "--clean-test", "valid.h5").exit_code == 0
    methods = ("--methods", "last-layer", "--out", "scan")
    done = run(scan_app, "--model", "net.h5", "--clean-valid", "valid.h5", *methods, *asked)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("given", ["caffe", KERAS_MODES["caffe"], KERAS_MODES["caffe"].text])
def test_python_takes_it_in_every_form(
    tmp_path: Path, sets: list[object], given: str | Preprocessing
) -> None:
    path, valid = keras_file(tmp_path / "net.h5", KERAS_MODES["caffe"]), tmp_path / "valid.h5"
    network = ytf_torch.read_model(path, preprocessing=given)
    assert network.provenance.preprocessing == KERAS_MODES["caffe"]
    found = ytf_torch.repair(path, valid, method="pruning", preprocessing=given)
    assert found.network.pixel_preprocessing == KERAS_MODES["caffe"]
    defence = ytf_torch.defend(path, valid, drops=[10], preprocessing=given, device="cpu")
    assert defence.settings.asked == KERAS_MODES["caffe"]
    assert defence.write_report(tmp_path / "report").exists()
    settings = (tmp_path / "report/settings.toml").read_text()
    assert 'preprocessing = "caffe"' in settings
    with pytest.raises(ytf_torch.InputError, match=r"`pixel_scale` is short for `preprocessing`"):
        ytf_torch.read_model(path, 1, preprocessing=given)
